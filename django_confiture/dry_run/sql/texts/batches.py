"""Whether an UPDATE or a DELETE can run for some keys at a time, and the statement that does."""

from __future__ import annotations

from django_confiture.dry_run.sql.parsing.building import copied, expression_sql, statement_sql
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.library import pg, postgast
from django_confiture.dry_run.sql.parsing.nodes import Node, range_vars_in, strings, tags_in

_OF_PLAIN_SELECT = {"target_list", "from_clause", "where_clause", "limit_option", "op"}


def names_its_table_again(node: Node) -> bool:
    """Return whether a statement reads other rows of the table that it writes to."""
    names = [each.relname for each in range_vars_in(node)]
    return names.count(node.relation.relname) > 1


def chooses_by_its_key(node: Node, key: str | None) -> bool:
    """Return whether its condition is ``key IN (SELECT key FROM the same table JOIN others ...)``.

    So Django writes a condition on other tables: each row is still chosen by itself.
    """
    if key is None or not node.where_clause.HasField("sub_link"):
        return False
    link = node.where_clause.sub_link
    if link.sub_link_type != pg.ANY_SUBLINK or link.oper_name:
        return False
    query = link.subselect.select_stmt
    plain = {field.name for field, _ in query.ListFields()} <= _OF_PLAIN_SELECT
    inner = any("RangeSubselect" in tags_in(each) for each in query.from_clause)
    if not plain or inner or query.op != pg.SETOP_NONE or len(query.target_list) != 1:
        return False
    own = [each for each in range_vars_in(query) if each.relname == node.relation.relname]
    if len(own) != 1 or [each.relname for each in range_vars_in(node)].count(own[0].relname) != 2:
        return False
    name = own[0].alias.aliasname if own[0].HasField("alias") else own[0].relname
    asked, given = (
        strings(each.column_ref.fields) if each.HasField("column_ref") else []
        for each in (link.testexpr, query.target_list[0].res_target.val)
    )
    return asked[-1:] == [key] and given == [name, key]


def has_parameters(node: Node) -> bool:
    """Return whether a statement has its own parameters."""
    return any(True for _ in postgast.find_nodes(node, pg.ParamRef))


def returns_rows(node: Node) -> bool:
    """Return whether a statement has RETURNING."""
    return bool(node.HasField("returning_clause"))


def between_keys(node: Node, key: str) -> str:
    """Return an UPDATE or a DELETE of the keys from ``%(low)s`` to ``%(high)s``, for psycopg."""
    target = node.relation
    name = target.alias.aliasname if target.HasField("alias") else target.relname
    condition = f"{quote_identifier(name)}.{quote_identifier(key)} BETWEEN $1 AND $2"
    if node.HasField("where_clause"):
        condition += f" AND ({expression_sql(node.where_clause)})"
    copy = copied(node)
    parsed = postgast.parse(f"SELECT WHERE {condition}").stmts[0].stmt.select_stmt
    copy.where_clause.CopyFrom(parsed.where_clause)
    return _for_psycopg(statement_sql(copy))


def _for_psycopg(sql: str) -> str:
    """Return a statement with psycopg's placeholders for its two parameters."""
    source = sql.encode()
    low, high = sorted(
        each.location for each in postgast.find_nodes(postgast.parse(sql), pg.ParamRef)
    )
    width = len("$1")
    texts = (source[:low], source[low + width : high], source[high + width :])
    before, between, after = (text.decode().replace("%", "%%") for text in texts)
    return f"{before}%(low)s{between}%(high)s{after}"
