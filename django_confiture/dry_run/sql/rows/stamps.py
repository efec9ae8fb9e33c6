"""Which DDL can't change what a default fills a column with, or which columns are unique."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ConstrType
from django_confiture.dry_run.sql.parsing.nodes import added_constraint, node_field, subcommands

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parsing.nodes import Node
    from django_confiture.dry_run.sql.parsing.parser import Statement

_HARMLESS = frozenset(
    (
        AlterTableType.AddColumn,
        AlterTableType.AlterColumnType,
        AlterTableType.DropNotNull,
        AlterTableType.SetNotNull,
        AlterTableType.ValidateConstraint,
    )
)
_CHECKING = frozenset((ConstrType.FOREIGN, ConstrType.CHECK, ConstrType.NOTNULL))


def makes_unique_index(statement: Statement) -> bool:
    """Return whether it is CREATE UNIQUE INDEX."""
    return statement.what == "index_stmt" and bool(statement.node.index_stmt.unique)


def leaves_stamps(statement: Statement) -> bool:
    """Return whether DDL that mentions no time leaves stamped columns, and their indexes, alone.

    A default without a mention of time is no stamp, but a table may inherit or copy one that is.
    """
    return leaves_attached(statement) and not makes_unique_index(statement)


def leaves_attached(statement: Statement) -> bool:
    """Return whether DDL leaves what hangs on tables alone: defaults, checks, policies, rules.

    It may make more that reads nothing but what its text mentions.
    """
    node = statement.node
    if statement.what == "index_stmt":
        return True
    if statement.what == "create_stmt":
        return not _takes_over(node.create_stmt)
    if statement.what == "alter_table_stmt":
        return all(map(_is_harmless, subcommands(node.alter_table_stmt)))
    return False


def _takes_over(table: Node) -> bool:
    copies = any(node_field(each) == "table_like_clause" for each in table.table_elts)
    return copies or bool(table.inh_relations) or table.HasField("of_typename")


def _is_harmless(subcommand: Node) -> bool:
    constraint = added_constraint(subcommand)
    if constraint is not None:
        return constraint.contype in _CHECKING
    return subcommand.subtype in _HARMLESS
