"""Tables that a transaction has made and that have no row yet, which could stand in the way of DDL.

DDL of such a table needs no savepoint, which costs the server more than a reading: PostgreSQL gives
each that writes a transaction's number of its own, and looks at it with each catalog row since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.enums import AlterTableType
from django_confiture.dry_run.sql.parsing.nodes import subcommands

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parsing.nodes import Node
    from django_confiture.dry_run.sql.parsing.parser import Statement

_LEAVING_ROWS = frozenset(
    (
        AlterTableType.AddColumn,
        AlterTableType.AddConstraint,
        AlterTableType.AlterColumnType,
        AlterTableType.ColumnDefault,
        AlterTableType.DropNotNull,
        AlterTableType.SetNotNull,
    )
)
"""What gives no table rows of another, as a partition that is attached does."""

_OF_TABLES = ("index_stmt", "alter_table_stmt")


class NewTables:
    """Knows these tables by their names, until something may fill one or rename another."""

    def __init__(self) -> None:
        self._names: set[tuple[str, str]] = set()

    def is_without_rows(self, statement: Statement) -> bool:
        """Return whether a statement is about one of them."""
        if not self._names or statement.what not in _OF_TABLES:
            return False
        return _name(getattr(statement.node, statement.what).relation) in self._names

    def ran(self, statement: Statement) -> None:
        """Note what a statement, which has run, has made, or may have filled or renamed."""
        if statement.what == "create_stmt":
            if not statement.node.create_stmt.if_not_exists:
                self._names.add(_name(statement.node.create_stmt.relation))
        elif self._names and not _leaves_rows(statement):
            self._names.clear()

    def ended(self) -> None:
        """Forget them with their transaction."""
        self._names.clear()


def _name(relation: Node) -> tuple[str, str]:
    return relation.schemaname, relation.relname


def _leaves_rows(statement: Statement) -> bool:
    if statement.what == "alter_table_stmt":
        commands = subcommands(statement.node.alter_table_stmt)
        return all(each.subtype in _LEAVING_ROWS for each in commands)
    return statement.what in ("index_stmt", "comment_stmt")
