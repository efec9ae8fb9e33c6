"""Sections: the statements of one operation, or those around the operations, while recorded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.measuring.effects import Effects, total_scans, total_writes
from django_confiture.dry_run.measuring.lock_waits import LockWait
from django_confiture.dry_run.results import NOT_CAUGHT, Sampled, StatementResult, Waited
from django_confiture.dry_run.sql.parsing.parser import UNSEEN, Kind, Statement
from django_confiture.dry_run.sql.parsing.rewrite import without_constants
from django_confiture.dry_run.sql.texts.redaction import HIDDEN, Origin, shown_sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_confiture.dry_run.measuring.relations import Catalog

POOLED_KINDS = (Kind.DML, Kind.SELECT)

ROW_LOCKS_MODE = LockMode.RowShareLock.name
"""What SELECT … FOR UPDATE and its like take on the table."""

MOST_TEXTS = 20
"""So many texts that differ in constants alone are measured, and reported, each for itself."""


@dataclass
class SectionEntry:
    """One statement of a section while it is recorded; equal DML texts are one with a count."""

    statement: Statement
    shown: str = ""
    """Its text as reports print it."""
    id: int = 0
    """Its number among all statements of the dry run, by its first run."""
    executions: int = 0
    duration_ms: float = 0.0
    rows: int | None = None
    code_locks: set[int] = field(default_factory=set)
    """The tables of which code that it ran has locked rows, foreign keys aside."""
    rows_locked: int | None = None
    """Rows that a SELECT … FOR UPDATE or its like has returned."""
    columns_gone: tuple[tuple[int, str], ...] = ()
    """(table, name) of each column that it drops without naming it."""
    effects: list[Effects] = field(default_factory=list)
    unread: bool = False
    """Whether it has run since the server was last asked."""
    note: str = ""
    started: float | None = None
    """When it first ran, by the stopwatch."""
    sampled: Sampled | None = None
    waits: list[LockWait] | None = None
    """What it waited for; None where no second connection looked."""
    runs: Counter[int] = field(default_factory=Counter)
    """How often it ran in which transaction, by the transaction's number."""

    @property
    def changes(self) -> set[int]:
        """The tables whose rows it has updated or deleted, by its runs so far."""
        return {o for e in self.effects for o, wrote in e.writes if wrote.updated or wrote.deleted}

    @property
    def row_locks(self) -> set[int]:
        """The tables whose rows it, or code that it ran, has locked without writing them."""
        statement = self.statement
        written = {oid for each in self.effects for oid, _rows in each.writes}
        if not statement.locks_rows and (written or not statement.may_lock_rows):
            return self.code_locks
        locks = (lock for e in self.effects for lock in e.locks)
        found = {oid for oid, mode, _inherited in locks if mode == ROW_LOCKS_MODE}
        return self.code_locks | found - written

    def begin(self, now: float) -> None:
        """Note when it runs for the first time."""
        if self.started is None:
            self.started = now

    def add_rows(self, cursor: Any) -> None:
        """Add what the command tag says that it wrote."""
        if self.statement.kind in (Kind.DML, Kind.UNPARSED) and cursor.rowcount >= 0:
            self.rows = (self.rows or 0) + cursor.rowcount
        what = self.statement.what
        returns = what == "select_stmt" and self.statement.node.select_stmt.locking_clause
        if returns and cursor.rowcount >= 0:
            self.rows_locked = (self.rows_locked or 0) + cursor.rowcount

    def result(self, catalog: Catalog, began: float) -> StatementResult:
        """Return what the report says of it; ``began`` is when its migration did."""
        wal = [e.wal_bytes for e in self.effects if e.wal_bytes is not None]
        relations = catalog.relations
        return StatementResult(
            id=self.id,
            sql=None if self.statement.kind is Kind.UNSEEN else self.shown,
            executions=self.executions,
            duration_ms=self.duration_ms,
            rows_affected=self.rows,
            rows_locked=self.rows_locked,
            wal_bytes=sum(wal) if wal else None,
            locks=_unique(lock for e in self.effects for lock in e.table_locks(catalog)),
            rewrites=_unique(relations[oid].shown for e in self.effects for oid in e.rewrites),
            scans=total_scans(self.effects, catalog),
            writes=total_writes(self.effects, catalog),
            indexes_built=_unique(name for e in self.effects for name in e.indexes_built),
            constraints=_unique(name for e in self.effects for name in e.constraints),
            note=self.note,
            started_ms=max(0.0, ((self.started or 0.0) - began) * 1000),
            sampled=self.sampled,
            waited_ms=None if self.waits is None else sum(each.ms for each in self.waits),
            waits=tuple(waited(each, catalog) for each in self.waits or ()),
        )


@dataclass
class Section:
    """The statements recorded together: those of an operation, or of the hooks of a phase."""

    origin: Origin = "code"
    entries: list[SectionEntry] = field(default_factory=list)
    substituted: list[str] = field(default_factory=list)
    not_rehearsed: list[str] = field(default_factory=list)
    by_chance: dict[str, str] = field(default_factory=dict)
    """Why the last run of a text may have taken other rows than for real, ``""`` if it has not."""
    skipped_by_router: list[str] = field(default_factory=list)
    duration_ms: float = 0.0
    started: float | None = None
    """When it was first entered, by the stopwatch."""
    _by_text: dict[str, SectionEntry] = field(default_factory=dict)
    _shapes: Counter[str] = field(default_factory=Counter)
    """How many texts there were that differ in constants alone."""
    _sampled: set[str] = field(default_factory=set)
    """Shapes of which one text was tried on samples."""

    @property
    def why_not_rehearsed(self) -> tuple[str, ...]:
        """The reasons why something of it is not rehearsed, each once."""
        found = [*self.not_rehearsed, *self.by_chance.values()]
        return tuple(dict.fromkeys(filter(None, found)))

    def unseen_entry(self) -> SectionEntry:
        """Return a new entry for what was not caught."""
        entry = SectionEntry(UNSEEN, NOT_CAUGHT, executions=1)
        self.entries.append(entry)
        return entry

    def new_entry(self, statement: Statement) -> SectionEntry:
        """Return an entry for a statement, which is not in the list yet."""
        return SectionEntry(statement, shown_sql(statement, self.origin))

    def entry_of(self, statement: Statement) -> SectionEntry:
        """Return the entry that a run of a statement belongs to; DDL has one for each run."""
        single = statement.kind in (Kind.DDL, Kind.UNPARSED)
        entry = None if single else self._by_text.get(statement.sql) or self._pool_of(statement)
        if entry is None:
            entry = self.new_entry(statement)
            self.entries.append(entry)
            if not single:
                self._by_text[statement.sql] = entry
        return entry

    def is_first_of_shape(self, statement: Statement) -> bool:
        """Return whether no text that differs from it in constants alone was asked about yet."""
        shape = without_constants(statement.sql, HIDDEN)
        if shape in self._sampled:
            return False
        self._sampled.add(shape)
        return True

    def _pool_of(self, statement: Statement) -> SectionEntry | None:
        """Return the one entry of texts that differ in constants alone, once there are many."""
        if statement.kind not in POOLED_KINDS:
            return None
        shape = without_constants(statement.sql, HIDDEN)
        if shape == statement.sql:
            return None
        self._shapes[shape] += 1
        if self._shapes[shape] <= MOST_TEXTS:
            return None
        if shape not in self._by_text:
            self._by_text[shape] = SectionEntry(statement, shape)
            self.entries.append(self._by_text[shape])
        return self._by_text[shape]

    def attributed(self, measured: Effects) -> Effects:
        """Give what an open cursor has read on meanwhile to the statement that opened it."""
        if not measured.scans:
            return measured
        kept = []
        for oid, rows, passes in measured.scans:
            opened = None if passes else self._last_to_scan(oid)
            if opened is None:
                kept.append((oid, rows, passes))
            else:
                opened.effects.append(Effects(scans=((oid, rows, passes),)))
        return replace(measured, scans=tuple(kept))

    def _last_to_scan(self, table: int) -> SectionEntry | None:
        for entry in reversed(self.entries):
            scans = (scan for each in entry.effects for scan in each.scans)
            if any(oid == table and passes for oid, _rows, passes in scans):
                return entry
        return None


def waited(wait: LockWait, catalog: Catalog) -> Waited:
    """Return a wait as reports tell it, with the relation's name as elsewhere in them."""
    known = catalog.relations.get(wait.oid) if wait.oid is not None else None
    names = dict.fromkeys(each.name for each in wait.blocked_by)
    return Waited(known.shown if known else wait.relation, wait.mode, wait.ms, tuple(names))


def _unique(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))
