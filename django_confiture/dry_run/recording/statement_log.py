"""What is recorded while a dry run is on: statements, in the sections that they belong to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django_confiture.dry_run.measuring.effects import Effects, total_scans, total_writes
from django_confiture.dry_run.results import Sampled, StatementResult
from django_confiture.dry_run.sql.parser import Kind, Statement
from django_confiture.dry_run.sql.redaction import HIDDEN, Origin, shown_sql
from django_confiture.dry_run.sql.rewrite import without_constants

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Catalog
    from django_confiture.dry_run.results import Violations


@dataclass
class Entry:
    """One statement of an operation; equal DML texts are one entry with a count."""

    statement: Statement
    shown: str = ""
    """Its text as reports print it."""
    executions: int = 0
    duration_ms: float = 0.0
    rows: int | None = None
    effects: list[Effects] = field(default_factory=list)
    unprobed: bool = False
    note: str = ""
    order: int = 0
    """Its place among all statements of the dry run, by its first run."""
    started: float = 0.0
    """When it first ran, by the recorder's clock."""
    sampled: Sampled | None = None
    runs: Counter[int] = field(default_factory=Counter)
    """How often it ran in which transaction, by the transaction's number."""

    @property
    def changes(self) -> set[int]:
        """The tables whose rows it has updated or deleted, by its runs so far."""
        return {o for e in self.effects for o, wrote in e.writes if wrote.updated or wrote.deleted}


_POOLED = (Kind.DML, Kind.SELECT)

MOST_TEXTS = 20
"""So many texts that differ in constants alone are measured, and reported, each for itself."""


@dataclass
class Section:
    """What is recorded together: an operation, or the hooks of a phase."""

    origin: Origin = "code"
    entries: list[Entry] = field(default_factory=list)
    substituted: list[str] = field(default_factory=list)
    not_rehearsed: list[str] = field(default_factory=list)
    by_text: dict[str, Entry] = field(default_factory=dict)
    _shapes: Counter[str] = field(default_factory=Counter)
    """How many texts there were that differ in constants alone."""
    duration_ms: float = 0.0
    started: float | None = None
    """When it was first entered, by the recorder's clock."""

    def new_entry(self, statement: Statement) -> Entry:
        """Return an entry for a statement, which is not in the list yet."""
        return Entry(statement, shown_sql(statement, self.origin))

    def entry_of(self, statement: Statement) -> Entry:
        """Return the entry that a run of a statement belongs to; DDL has one for each run."""
        single = statement.kind in (Kind.DDL, Kind.UNPARSED)
        entry = None if single else self.by_text.get(statement.sql) or self._pool_of(statement)
        if entry is None:
            entry = self.new_entry(statement)
            self.entries.append(entry)
            if not single:
                self.by_text[statement.sql] = entry
        return entry

    def latest_of(self, statement: Statement) -> Entry:
        """Return the entry that the statement's last run was noted in."""
        if (known := self.by_text.get(statement.sql)) is not None:
            return known
        pool = self.by_text.get(without_constants(statement.sql, HIDDEN))
        return pool if pool is not None and statement.kind in _POOLED else self.entries[-1]

    def _pool_of(self, statement: Statement) -> Entry | None:
        """Return the one entry of texts that differ in constants alone, once there are many."""
        if statement.kind not in _POOLED:
            return None
        shape = without_constants(statement.sql, HIDDEN)
        if shape == statement.sql:
            return None
        self._shapes[shape] += 1
        if self._shapes[shape] <= MOST_TEXTS:
            return None
        if shape not in self.by_text:
            self.by_text[shape] = Entry(statement, shape)
            self.entries.append(self.by_text[shape])
        return self.by_text[shape]

    def attributed(self, measured: Effects) -> Effects:
        """Give what an open cursor has read on meanwhile to the statement that opened it."""
        kept = []
        for scan in measured.scans:
            opened = None if scan[2] else self._last_to_scan(scan[0])
            if opened is None:
                kept.append(scan)
            else:
                opened.effects.append(Effects(scans=(scan,)))
        return replace(measured, scans=tuple(kept))

    def _last_to_scan(self, oid: int) -> Entry | None:
        for entry in reversed(self.entries):
            if any(scan[0] == oid and scan[2] for each in entry.effects for scan in each.scans):
                return entry
        return None


@dataclass(frozen=True)
class StatementFailure:
    """A statement that PostgreSQL refused."""

    sql: str
    error: Exception
    violations: Violations | None = None


def statement_result(entry: Entry, catalog: Catalog, began: float) -> StatementResult:
    """Return what the report says of a statement; ``began`` is when its migration did."""
    all_effects = entry.effects
    wal = [e.wal_bytes for e in all_effects if e.wal_bytes is not None]
    return StatementResult(
        sql=entry.shown,
        executions=entry.executions,
        duration_ms=entry.duration_ms,
        rows_affected=entry.rows,
        wal_bytes=sum(wal) if wal else None,
        locks=_unique(lock for e in all_effects for lock in e.table_locks(catalog)),
        rewrites=_unique(catalog.relations[oid].shown for e in all_effects for oid in e.rewrites),
        scans=total_scans(all_effects, catalog),
        writes=total_writes(all_effects, catalog),
        indexes_built=_unique(name for e in all_effects for name in e.indexes_built),
        constraints=_unique(name for e in all_effects for name in e.constraints),
        note=entry.note,
        started_ms=max(0.0, (entry.started - began) * 1000),
        sampled=entry.sampled,
    )


def add_rows(entry: Entry, cursor: Any) -> None:
    """Add what the command tag says that a statement wrote."""
    if entry.statement.kind in (Kind.DML, Kind.UNPARSED) and cursor.rowcount >= 0:
        entry.rows = (entry.rows or 0) + cursor.rowcount


def _unique(items: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))
