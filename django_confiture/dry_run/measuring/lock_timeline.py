"""How long each table is blocked: from a lock to the end of the transaction that holds it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.results import Blocked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_confiture.dry_run.measuring.relations import Catalog
    from django_confiture.dry_run.measuring.stopwatch import Stopwatch


_MOST = 100
"""At least this many stretches are kept; a migration may have a transaction for each row."""


class Since(NamedTuple):
    """The moments since which reads, writes and rows are blocked; None where they are not."""

    reads: float | None = None
    writes: float | None = None
    rows: float | None = None


_NOTHING = Since()


@dataclass
class TableTime:
    """One table's locks within one migration."""

    modes: set[LockMode] = field(default_factory=set)
    reads_blocked_ms: float = 0.0
    writes_blocked_ms: float = 0.0
    blocked_by: str = ""
    blocked: list[Blocked] = field(default_factory=list)
    row_locks: list[Blocked] = field(default_factory=list)
    """The longest of them."""
    changed_in: int = 0
    """In how many transactions rows were updated or deleted."""
    since: Since = _NOTHING
    held: set[LockMode] = field(default_factory=set)
    """What the transaction that is open has taken."""

    def take(self, mode: LockMode, at: float, sql: str) -> None:
        """Note a lock; ``at`` is when the statement that took it began."""
        self.modes.add(mode)
        self.held.add(mode)
        if mode.blocks_reads and self.since.reads is None:
            self.since = self.since._replace(reads=at)
        if mode.blocks_writes:
            self.blocked_by = self.blocked_by or sql
            if self.since.writes is None:
                self.since = self.since._replace(writes=at)

    def change_rows(self, at: float) -> None:
        """Note that rows were updated or deleted: other writers of the same rows wait."""
        if self.since.rows is None:
            self.since = self.since._replace(rows=at)

    def release(self, at: float, began: float, kept: Since = _NOTHING) -> None:
        """Add up what was blocked until now, and go on with what is ``kept``.

        ``began`` is when the migration did.
        """
        if self.since == kept:
            return
        reads, writes, rows = self.since
        if rows is not None:
            _add(self.row_locks, "rows", rows - began, (at if writes is None else writes) - began)
            if len(self.row_locks) >= 2 * _MOST:
                longest = sorted(self.row_locks, key=lambda each: each.start_ms - each.end_ms)
                self.row_locks = sorted(longest[:_MOST], key=lambda each: each.start_ms)
        if writes is not None:
            self.writes_blocked_ms += (at - writes) * 1000
            _add(self.blocked, "writes", writes - began, (at if reads is None else reads) - began)
        if reads is not None:
            self.reads_blocked_ms += (at - reads) * 1000
            _add(self.blocked, "reads", reads - began, at - began)
        self.since = Since(*(None if each is None else at for each in kept))


def _add(
    stretches: list[Blocked], what: Literal["reads", "writes", "rows"], start: float, end: float
) -> None:
    if end <= start:
        return
    last = stretches[-1] if stretches else None
    if last is not None and last.what == what and last.end_ms == start * 1000:
        stretches[-1] = replace(last, end_ms=end * 1000)
    else:
        stretches.append(Blocked(start * 1000, end * 1000, what))


class LockTimeline:
    """The tables that one migration locks; every mode that blocks reads blocks writes too."""

    def __init__(self, catalog: Catalog, clock: Stopwatch) -> None:
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
        for table in self.tables.values():
            table.changed_in += table.since.rows is not None
            table.held.clear()
        self.keep({})

    def held(self, oid: int) -> set[LockMode]:
        """Return what the transaction that is open has taken on a relation."""
        return set(self.tables[oid].held) if oid in self.tables else set()

    def since(self) -> Mapping[int, Since]:
        """Return which tables are locked now, and since when."""
        return {oid: each.since for oid, each in self.tables.items()}

    def keep(self, held: Mapping[int, Since]) -> None:
        """Note that all locks but those in ``held`` are free now."""
        now = self._clock.now()
        for oid, table in self.tables.items():
            table.release(now, self.began, held.get(oid, _NOTHING))

    def start(self) -> None:
        """Begin the timeline of a migration, which holds no lock yet."""
        self.tables = {}
        self.began = self._clock.now()

    def resume(self, tables: dict[int, TableTime], began: float) -> None:
        """Go on with a migration that another one has interrupted."""
        self.tables, self.began = tables, began
