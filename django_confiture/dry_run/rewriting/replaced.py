"""What an operation drops and makes again: the same it need not touch, another it can't replace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_confiture.dry_run.rewriting.facts import Facts, known_name
from django_confiture.dry_run.rewriting.files import NoRecipe
from django_confiture.dry_run.sql.building import (
    constraint_sql,
    foreign_key_of,
    statement_sql,
    without_schemas,
)
from django_confiture.dry_run.sql.enums import AlterTableType, ConstrType
from django_confiture.dry_run.sql.identifiers import quote_identifier
from django_confiture.dry_run.sql.nodes import (
    Node,
    constraints_of_column,
    definition,
    dropped_relations,
    quoted_relation,
    subcommands,
)
from django_confiture.dry_run.sql.parser import Statement, parse

_Made = tuple[str, str, str]
"""Kind, table and name of a constraint; of an index without the table."""


def without_the_same_again(statements: Sequence[Statement], facts: Facts) -> list[Statement]:
    """Return the statements without those that drop something and make the same again.

    Raises :class:`NoRecipe` where something else gets the name of what is dropped.
    """
    dropped = {name: each for each in statements for name in _drops(each)}
    left = list(statements)
    for each in statements:
        name = _makes(each)
        if name is None or name not in dropped:
            continue
        if _form(each) != _form_before(name, each, facts):
            raise NoRecipe(f"it drops {name[2]} and makes another one under the same name")
        left = [other for other in left if other is not each and other is not dropped[name]]
    return left


def _drops(statement: Statement) -> Iterator[_Made]:
    if statement.what == "drop_stmt":
        for each in dropped_relations(statement.node.drop_stmt):
            yield "index", "", each.relname
        return
    only = _only_subcommand(statement)
    if only is not None and only.subtype == AlterTableType.DropConstraint:
        yield "constraint", known_name(statement.node.alter_table_stmt.relation), only.name


def _makes(statement: Statement) -> _Made | None:
    if statement.what == "index_stmt":
        return "index", "", statement.node.index_stmt.idxname
    only = _only_subcommand(statement)
    if only is None or only.subtype != AlterTableType.AddConstraint:
        return None
    table = known_name(statement.node.alter_table_stmt.relation)
    return "constraint", table, definition(only).constraint.conname


def _only_subcommand(statement: Statement) -> Node | None:
    if statement.what != "alter_table_stmt":
        return None
    found = list(subcommands(statement.node.alter_table_stmt))
    return found[0] if len(found) == 1 else None


def _form(statement: Statement) -> str:
    """Return a statement in the one form that all of its spellings have."""
    node = getattr(statement.node, statement.what)
    return statement_sql(without_schemas(node))


def _form_before(name: _Made, made: Statement, facts: Facts) -> str | None:
    kind, table, own = name
    if kind == "index":
        sql = facts.indexes.get(own)
    else:
        before = facts.constraints.get((table, own))
        quoted = quoted_relation(made.node.alter_table_stmt.relation)
        sql = before and f"ALTER TABLE {quoted} ADD CONSTRAINT {quote_identifier(own)} {before}"
    return _form(parse(sql, placeholders=False)[0]) if sql else None


def made_by(statement: Statement) -> Iterator[tuple[_Made, str]]:
    """Yield the indexes and constraints that a statement makes, each with its definition."""
    if statement.what == "index_stmt":
        yield ("index", "", statement.node.index_stmt.idxname), statement.sql
    elif statement.what == "alter_table_stmt":
        relation = statement.node.alter_table_stmt.relation
        for each in subcommands(statement.node.alter_table_stmt):
            for constraint in _constraints_of(each):
                name = ("constraint", known_name(relation), constraint.conname)
                yield name, constraint_sql(constraint)


def _constraints_of(subcommand: Node) -> Iterator[Node]:
    if subcommand.subtype == AlterTableType.AddConstraint:
        yield definition(subcommand).constraint
    elif subcommand.subtype == AlterTableType.AddColumn:
        column = definition(subcommand).column_def
        given = constraints_of_column(column)
        if (foreign_key := given.get(ConstrType.FOREIGN)) is not None:
            yield foreign_key_of(
                column.colname,
                foreign_key,
                deferrable=ConstrType.ATTR_DEFERRABLE in given,
                deferred=ConstrType.ATTR_DEFERRED in given,
            )
