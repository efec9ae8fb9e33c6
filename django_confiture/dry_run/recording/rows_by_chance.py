"""Rows that a ``LIMIT`` without ``ORDER BY`` takes from a table that two migrations have changed.

For real, the space of what the first has changed is free for the second. In one transaction it is
not, so rows lie elsewhere, and such a statement may take others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.rows.unordered_limits import unordered_limits

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parsing.parser import Statement

BY_CHANCE = (
    "LIMIT without ORDER BY takes rows as they lie in the table, which two transactions of the "
    "plan have changed: for real it may take others. Add an ORDER BY; --clone rehearses it."
)

_FREEING = ("update_stmt", "delete_stmt", "merge_stmt")
_WRITING = (*_FREEING, "insert_stmt", "copy_stmt")


class RowsByChance:
    """Notes which tables have rows that would lie elsewhere for real."""

    def __init__(self) -> None:
        self._freed: set[str] = set()
        self._freed_now: set[str] = set()
        self._moved: set[str] = set()

    def ran(self, statement: Statement, rows: int) -> bool | None:
        """Return whether a statement took rows by chance, after it ran; None where it can't.

        ``rows`` are those that it returned or wrote, -1 where that is not known: below its limit
        it took them all.
        """
        limits = [
            limit
            for limit, asked in unordered_limits(statement)
            if not self._moved.isdisjoint(asked)
        ]
        found = not 0 <= rows < min(limits) if limits else None
        self._note(statement)
        return found

    def _note(self, statement: Statement) -> None:
        if statement.what not in _WRITING:
            return
        table = getattr(statement.node, statement.what).relation.relname
        if table in self._freed:
            self._moved.add(table)
        if statement.what in _FREEING:
            self._freed_now.add(table)

    def ended(self, *, kept: bool) -> None:
        """Count what comes now for another transaction."""
        if kept:
            self._freed |= self._freed_now
        self._freed_now = set()
