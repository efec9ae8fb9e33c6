"""Splits a statement of a schema change into parts: those that lock, those that take time."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.migrations import RunSQL

from django_confiture.dry_run.rewriting.changed_columns import comment_by
from django_confiture.dry_run.rewriting.facts import Facts, known_name
from django_confiture.dry_run.rewriting.files import NoRecipe
from django_confiture.dry_run.rewriting.parts.column_parts import add_column_parts, not_null_parts
from django_confiture.dry_run.rewriting.parts.constraint_parts import (
    add_constraint_parts,
    drop_constraint_part,
)
from django_confiture.dry_run.rewriting.parts.index_parts import (
    drop_index_parts,
    index_parts,
    refresh_part,
    reindex_part,
)
from django_confiture.dry_run.rewriting.parts.parts import Part, Phase
from django_confiture.dry_run.sql.parsing.building import alter_table_sql, changed, statement_sql
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ConstrType
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    definition,
    quoted_relation,
    strings,
    subcommands,
)
from django_confiture.dry_run.sql.parsing.parser import Statement

_QUICK = (
    AlterTableType.ReplaceRelOptions,
    AlterTableType.ResetOptions,
    AlterTableType.ResetRelOptions,
    AlterTableType.SetOptions,
    AlterTableType.SetRelOptions,
    AlterTableType.SetStatistics,
    AlterTableType.SetStorage,
)
"""What an ALTER TABLE may set beside what takes time: it reads no rows."""


def parts_of(statement: Statement, facts: Facts) -> Iterator[Part]:
    """Yield what a statement becomes; raises :class:`NoRecipe` where that is not known."""
    node: Node = getattr(statement.node, statement.what) if statement.what else None
    match statement.what:
        case "index_stmt":
            yield from index_parts(node, facts)
        case "drop_stmt":
            yield from drop_index_parts(node, facts)
        case "reindex_stmt":
            yield reindex_part(node, facts)
        case "refresh_mat_view_stmt":
            yield refresh_part(node, facts)
        case "alter_table_stmt":
            for subcommand in subcommands(node):
                yield from _of_subcommand(node.relation, subcommand, facts, statement.sql)
        case "comment_stmt":
            yield _comment(statement, facts)
        case "rename_stmt":
            raise NoRecipe("it renames something")
        case _:
            raise NoRecipe(f"it runs {statement.command}")


def _of_subcommand(relation: Node, subcommand: Node, facts: Facts, sql: str) -> Iterator[Part]:
    match subcommand.subtype:
        case AlterTableType.AddColumn:
            rewrites = sql in facts.rewriting
            yield from add_column_parts(relation, subcommand, facts, rewrites=rewrites)
        case AlterTableType.ColumnDefault:
            yield _default(relation, subcommand, facts)
        case AlterTableType.AlterColumnType if not facts.works(sql):
            yield _wider_type(relation, subcommand, facts)
        case AlterTableType.SetNotNull:
            yield from not_null_parts(relation, subcommand.name)
        case AlterTableType.DropNotNull:
            yield _drop_not_null(relation, subcommand)
        case AlterTableType.AddConstraint:
            yield from _not_null_of_key(relation, subcommand, facts)
            yield from add_constraint_parts(relation, subcommand, facts)
        case AlterTableType.DropConstraint:
            yield drop_constraint_part(relation, subcommand, facts)
        case AlterTableType.ValidateConstraint:
            yield Part(Phase.VALIDATE, alter_table_sql(relation, subcommand))
        case quick if quick in _QUICK:
            yield Part(Phase.SCHEMA, alter_table_sql(relation, subcommand))
        case _:
            raise NoRecipe(_why_not(subcommand))


def _why_not(subcommand: Node) -> str:
    """Return why there is no recipe for what an ALTER TABLE does."""
    match subcommand.subtype:
        case AlterTableType.AlterColumnType:
            return f"it changes the type of {subcommand.name}"
        case AlterTableType.DropColumn:
            return f"it drops the column {subcommand.name}"
        case subtype:
            known = subtype in set(AlterTableType)
            kind = AlterTableType(subtype).name if known else "unknown"
            return f"its ALTER TABLE has a part of the kind {kind}"


def _not_null_of_key(relation: Node, subcommand: Node, facts: Facts) -> Iterator[Part]:
    """Yield NOT NULL for the columns of a new primary key that may be NULL so far."""
    constraint = definition(subcommand).constraint
    if constraint.contype == ConstrType.PRIMARY:
        required = facts.not_null.get(known_name(relation), ())
        for each in strings(constraint.keys):
            if each not in required:
                yield from not_null_parts(relation, each)


def _default(relation: Node, subcommand: Node, facts: Facts) -> Part:
    """Return the part for a default: until it is dropped running code can leave the column out."""
    before = facts.defaults.get((known_name(relation), subcommand.name))
    column = _column(relation, subcommand)
    back = RunSQL.noop if before is None else f"{column} SET DEFAULT {before}"
    if definition(subcommand).WhichOneof("node"):
        phase, back = Phase.SCHEMA, back or f"{column} DROP DEFAULT"
    elif facts.releases == 2:
        phase = Phase.NEXT_RELEASE
    else:
        phase = Phase.SCHEMA if before is None else Phase.SWITCH
    return Part(phase, alter_table_sql(relation, subcommand), back)


def _wider_type(relation: Node, subcommand: Node, facts: Facts) -> Part:
    """Return the part for a type that PostgreSQL only notes, such as a longer varchar."""
    before = facts.types.get((known_name(relation), subcommand.name))
    if before is None:
        raise NoRecipe(f"the type of {subcommand.name} before is not known")
    column = _column(relation, subcommand)
    using = quote_identifier(subcommand.name)
    kind = before.partition(" COLLATE ")[0]
    back = f"{column} TYPE {before} USING {using}::{kind}"
    return Part(Phase.SCHEMA, alter_table_sql(relation, subcommand), back)


def _comment(statement: Statement, facts: Facts) -> Part:
    """Return the part for a comment; that of a new column goes with it."""
    back: str = RunSQL.noop
    for table, column, _text in comment_by(statement):
        if (table, column) in facts.types:
            before = facts.comments.get((table, column), "")
            back = statement_sql(changed(statement.node.comment_stmt, comment=before))
    return Part(Phase.SCHEMA, statement.sql, back)


def _column(relation: Node, subcommand: Node) -> str:
    """Return the beginning of an ALTER TABLE that changes the same column."""
    return (
        f"ALTER TABLE {quoted_relation(relation)} ALTER COLUMN {quote_identifier(subcommand.name)}"
    )


def _drop_not_null(relation: Node, subcommand: Node) -> Part:
    back = f"{_column(relation, subcommand)} SET NOT NULL"
    return Part(Phase.SCHEMA, alter_table_sql(relation, subcommand), back)
