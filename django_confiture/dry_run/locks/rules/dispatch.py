"""Which rule is for which kind of statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from django_confiture.dry_run.locks.catalog import Lookup
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules import alter, create, define, drop, maintain, queries
from django_confiture.dry_run.locks.rules.base import Lock, resolve
from django_confiture.dry_run.sql.parsing.nodes import Node, option_is_on

Rule = Callable[[Node, Lookup], Iterator[Lock]]


def apply(node: Node, lookup: Lookup) -> Iterator[Lock]:
    """Yield what the rule for this kind of statement says; a relation can come more than once."""
    kind = node.WhichOneof("node")
    if kind in RULES:
        yield from RULES[kind](getattr(node, kind), lookup)


def _create_schema(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE SCHEMA with tables and views inside."""
    for element in statement.schema_elts:
        yield from apply(element, lookup)


def _explain(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """EXPLAIN plans; EXPLAIN ANALYZE runs."""
    if option_is_on(statement.options, "analyze"):
        yield from apply(statement.query, lookup)
    else:
        yield from queries.planned(statement.query, lookup)


def _copy(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """COPY of a table or a query."""
    if not statement.HasField("relation"):
        yield from queries.query(statement.query, lookup)
        return
    table = resolve(statement.relation, lookup)
    if table is not None:
        writes = statement.is_from
        yield Lock(table.oid, LockMode.RowExclusiveLock if writes else LockMode.AccessShareLock)


def _inner_query(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """DECLARE, PREPARE: the query inside is planned or parsed."""
    yield from queries.planned(statement.query, lookup)


RULES: Mapping[str, Rule] = {
    "alter_domain_stmt": define.alter_domain,
    "alter_object_schema_stmt": define.set_schema,
    "alter_policy_stmt": create.create_policy,
    "alter_publication_stmt": define.publication,
    "alter_seq_stmt": create.sequence,
    "alter_table_stmt": alter.alter_table,
    "cluster_stmt": maintain.cluster,
    "comment_stmt": define.comment,
    "copy_stmt": _copy,
    "create_foreign_table_stmt": create.create_foreign_table,
    "create_policy_stmt": create.create_policy,
    "create_publication_stmt": define.publication,
    "create_schema_stmt": _create_schema,
    "create_seq_stmt": create.sequence,
    "create_stats_stmt": create.create_statistics,
    "create_stmt": create.create_table,
    "create_table_as_stmt": create.create_table_as,
    "create_trig_stmt": create.create_trigger,
    "declare_cursor_stmt": _inner_query,
    "delete_stmt": queries.query,
    "drop_owned_stmt": drop.drop_owned,
    "drop_stmt": drop.drop,
    "explain_stmt": _explain,
    "grant_stmt": define.grant,
    "index_stmt": create.create_index,
    "insert_stmt": queries.query,
    "lock_stmt": maintain.lock,
    "merge_stmt": queries.query,
    "prepare_stmt": _inner_query,
    "reassign_owned_stmt": drop.reassign_owned,
    "refresh_mat_view_stmt": maintain.refresh,
    "reindex_stmt": maintain.reindex,
    "rename_stmt": define.rename,
    "rule_stmt": create.create_rule,
    "sec_label_stmt": define.comment,
    "select_stmt": queries.query,
    "truncate_stmt": drop.truncate,
    "update_stmt": queries.query,
    "vacuum_stmt": maintain.vacuum,
    "view_stmt": create.create_view,
}
"""The parser's name for a kind of statement → its rule. All others take no lock on a table."""
