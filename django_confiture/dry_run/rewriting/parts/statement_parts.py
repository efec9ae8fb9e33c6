"""Splits a statement of a schema change into parts: those that lock, those that take time."""

from __future__ import annotations

from collections.abc import Iterator

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
from django_confiture.dry_run.sql.parsing.building import alter_table_sql
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
            rewrites = statement.sql in facts.rewriting
            for subcommand in subcommands(node):
                yield from _of_subcommand(node.relation, subcommand, facts, rewrites=rewrites)
        case "comment_stmt":  # alone it takes no time, and goes with its column
            yield Part(Phase.SCHEMA, statement.sql)
        case "rename_stmt":
            raise NoRecipe("it renames something")
        case _:
            raise NoRecipe(f"it runs {statement.command}")


def _of_subcommand(
    relation: Node, subcommand: Node, facts: Facts, *, rewrites: bool
) -> Iterator[Part]:
    match subcommand.subtype:
        case AlterTableType.AddColumn:
            yield from add_column_parts(relation, subcommand, facts, rewrites=rewrites)
        case AlterTableType.ColumnDefault:
            yield _default(relation, subcommand, facts)
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
    drops = not definition(subcommand).WhichOneof("node")
    phase = Phase.NEXT_RELEASE if drops and facts.releases == 2 else Phase.SCHEMA
    return Part(phase, alter_table_sql(relation, subcommand))


def _drop_not_null(relation: Node, subcommand: Node) -> Part:
    column = (
        f"ALTER TABLE {quoted_relation(relation)} ALTER COLUMN {quote_identifier(subcommand.name)}"
    )
    return Part(Phase.SCHEMA, alter_table_sql(relation, subcommand), f"{column} SET NOT NULL")
