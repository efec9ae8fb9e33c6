"""How long each table is blocked: from a lock to the end of the transaction that holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from django_confiture.dry_run.lock_modes import LockMode

if TYPE_CHECKING:
    from django_confiture.dry_run.catalog import Catalog


@dataclass
class TableTime:
    """One table's locks within one migration."""

    modes: set[LockMode] = field(default_factory=set)
    reads_blocked_ms: float = 0.0
    writes_blocked_ms: float = 0.0
    blocked_by: str = ""
    _reads_since: float | None = None
    _writes_since: float | None = None

    def take(self, mode: LockMode, at: float, sql: str) -> None:
        """Note a lock; ``at`` is when the statement that took it began."""
        self.modes.add(mode)
        if mode.blocks_reads and self._reads_since is None:
            self._reads_since = at
        if mode.blocks_writes:
            self.blocked_by = self.blocked_by or sql
            if self._writes_since is None:
                self._writes_since = at

    def release(self, at: float) -> None:
        """Add up what was blocked until now."""
        if self._reads_since is not None:
            self.reads_blocked_ms += (at - self._reads_since) * 1000
        if self._writes_since is not None:
            self.writes_blocked_ms += (at - self._writes_since) * 1000
        self._reads_since = self._writes_since = None


class LockTimeline:
    """The tables that one migration locks; every mode that blocks reads blocks writes too."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.tables: dict[int, TableTime] = {}

    def take(self, oid: int, mode: str, at: float, sql: str) -> None:
        """Note that a statement which began at ``at`` took ``mode`` on a relation."""
        self.tables.setdefault(oid, TableTime()).take(LockMode[mode], at, sql)

    def release(self) -> None:
        """The transaction ended, or would have: its locks are free."""
        now = perf_counter()
        for table in self.tables.values():
            table.release(now)

    def start(self) -> None:
        """Begin a migration."""
        self.tables = {}
