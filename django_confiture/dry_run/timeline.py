"""How long each table is blocked: from a lock to the end of the transaction that holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from django_confiture.dry_run.lock_modes import LockMode
from django_confiture.dry_run.results import Blocked

if TYPE_CHECKING:
    from django_confiture.dry_run.catalog import Catalog
    from django_confiture.dry_run.clock import Clock


@dataclass
class TableTime:
    """One table's locks within one migration."""

    modes: set[LockMode] = field(default_factory=set)
    reads_blocked_ms: float = 0.0
    writes_blocked_ms: float = 0.0
    blocked_by: str = ""
    blocked: list[Blocked] = field(default_factory=list)
    row_locks: list[Blocked] = field(default_factory=list)
    _reads_since: float | None = None
    _writes_since: float | None = None
    _rows_since: float | None = None

    def take(self, mode: LockMode, at: float, sql: str) -> None:
        """Note a lock; ``at`` is when the statement that took it began."""
        self.modes.add(mode)
        if mode.blocks_reads and self._reads_since is None:
            self._reads_since = at
        if mode.blocks_writes:
            self.blocked_by = self.blocked_by or sql
            if self._writes_since is None:
                self._writes_since = at

    def change_rows(self, at: float) -> None:
        """Note that rows were updated or deleted: whoever writes the same ones waits."""
        if self._rows_since is None:
            self._rows_since = at

    def release(self, at: float, began: float) -> None:
        """Add up what was blocked until now; ``began`` is when the migration did."""
        reads, writes, rows = self._reads_since, self._writes_since, self._rows_since
        if rows is not None and rows < (until := at if writes is None else writes):
            stretch = Blocked((rows - began) * 1000, (until - began) * 1000, "rows")
            self.row_locks.append(stretch)
        if reads is not None:
            self.reads_blocked_ms += (at - reads) * 1000
        if writes is not None:
            self.writes_blocked_ms += (at - writes) * 1000
            until = at if reads is None else reads
            if until > writes:
                self._note("writes", writes - began, until - began)
        if reads is not None:
            self._note("reads", reads - began, at - began)
        self._reads_since = self._writes_since = self._rows_since = None

    def _note(self, what: Literal["reads", "writes"], start: float, end: float) -> None:
        self.blocked.append(Blocked(start * 1000, end * 1000, what))


class LockTimeline:
    """The tables that one migration locks; every mode that blocks reads blocks writes too."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self.tables: dict[int, TableTime] = {}
        self.began = self._clock.now()

    def take(self, oid: int, mode: str, at: float, sql: str) -> None:
        """Note that a statement which began at ``at`` took ``mode`` on a relation."""
        self.tables.setdefault(oid, TableTime()).take(LockMode[mode], at, sql)

    def change_rows(self, oid: int, at: float) -> None:
        """Note that a statement which began at ``at`` updated or deleted rows."""
        self.tables.setdefault(oid, TableTime()).change_rows(at)

    def release(self) -> None:
        """The transaction ended, or would have: its locks are free."""
        now = self._clock.now()
        for table in self.tables.values():
            table.release(now, self.began)

    def start(self) -> None:
        """Begin a migration."""
        self.tables = {}
        self.began = self._clock.now()
