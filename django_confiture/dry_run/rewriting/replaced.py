"""What an operation drops and makes again: the same it need not touch, another it can't replace."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from django_confiture.dry_run.rewriting.facts import Facts, known_name
from django_confiture.dry_run.rewriting.files import NoRecipe
from django_confiture.dry_run.sql.parsing.building import (
    constraint_sql,
    foreign_key_of,
    statement_sql,
    without_schemas,
)
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ConstrType
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    constraints_of_column,
    definition,
    dropped_relations,
    quoted_relation,
    subcommands,
)
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse

_Made = tuple[str, str, str]
"""Kind, table and name of a constraint; of an index without the table."""


def without_the_same_again(statements: Sequence[Statement], facts: Facts) -> list[Statement]:
    """Return the statements without those that drop something and make the same again.

    Raises :class:`NoRecipe` where something else gets the name of what is dropped.
    """
    dropped = {name: each for each in statements for name in dropped_by(each)}
    left = list(statements)
    for each in statements:
        name = _makes(each)
        if name is None or name not in dropped:
            continue
        if _form(each) != _form_before(name, each, facts):
            raise NoRecipe(f"it drops {name[2]} and makes another one under the same name")
        left = [other for other in left if other is not each and other is not dropped[name]]
    return left


def after(statements: Sequence[Statement], facts: Facts) -> Facts:
    """Return the facts with the indexes and constraints that statements leave."""
    indexes, constraints = dict(facts.indexes), dict(facts.constraints)
    back: list[str] = []
    for each in statements:
        for _kind, table, name in dropped_by(each):
            constraints.pop((table, name), None)
            if not table:
                indexes = {key: sql for key, sql in indexes.items() if key.split(".")[-1] != name}
        for (_kind, table, name), sql in made_by(each):
            drop = f"IF EXISTS {quote_identifier(name)}"
            if table:
                constraints[table, name] = sql
                relation = quoted_relation(each.node.alter_table_stmt.relation)
                back.append(f"ALTER TABLE {relation} DROP CONSTRAINT {drop}")
            else:
                indexes[name] = sql
                back.append(f"DROP INDEX {drop}")
    # What Django would look up in the database, to drop it, was not there when it was asked.
    gone = {name for each in statements for _kind, table, name in dropped_by(each) if table}
    backwards = (*back, *(each for each in facts.backwards if not _is_about(each, gone)))
    return replace(
        facts,
        indexes=indexes,
        constraints=constraints,
        backwards=backwards,
    )


def _is_about(sql: str, gone: Collection[str]) -> bool:
    """Return whether a statement drops a constraint that is gone then, or checks it before."""
    for each in parse(sql, placeholders=False):
        if each.what == "constraints_set_stmt":
            return any(
                c.range_var.relname in gone for c in each.node.constraints_set_stmt.constraints
            )
        return any(name in gone for _kind, table, name in dropped_by(each) if table)
    return False


def dropped_by(statement: Statement) -> Iterator[_Made]:
    """Yield the indexes and constraints that a statement drops; a constraint by itself only."""
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


def makes_or_drops(statement: Statement) -> bool:
    """Return whether all that a statement does is to make or drop an index or a constraint."""
    return _makes(statement) is not None or any(True for _each in dropped_by(statement))


def made_or_dropped(statements: Sequence[Statement]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the indexes and constraints that statements make, or those that they drop.

    Both are empty where they do anything else.
    """
    changing = [each for each in statements if each.kind is Kind.DDL]
    made = frozenset(name for each in changing for (_kind, _table, name), _sql in made_by(each))
    dropped = frozenset(name for each in changing for _kind, _table, name in dropped_by(each))
    if not all(map(makes_or_drops, changing)) or (made and dropped):
        return frozenset(), frozenset()
    return made, dropped


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
