"""What each statement did, section by section: an operation, or what runs around them.

Probing after every statement would double the run time. So DDL is probed one by one, each DML
text a few times, and the rest once when its section ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.catalog import Catalog, Probe
from django_confiture.dry_run.findings.history import History
from django_confiture.dry_run.lock_modes import LockMode
from django_confiture.dry_run.measure import Effects, effects, merge, total_scans, total_writes
from django_confiture.dry_run.results import StatementResult, Violations
from django_confiture.dry_run.statements import Kind, Statement
from django_confiture.dry_run.timeline import LockTimeline
from django_confiture.dry_run.violations import explain

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_confiture.dry_run.transactions import RehearsedTransactions

_PROBED_REPEATS = 3
"""After so many runs of one DML text in an operation, the rest is measured at its end."""

_STATEMENT = "confiture_statement"


@dataclass
class Entry:
    """One statement of an operation; equal DML texts are one entry with a count."""

    statement: Statement
    executions: int = 0
    duration_ms: float = 0.0
    rows: int | None = None
    effects: list[Effects] = field(default_factory=list)
    unprobed: bool = False
    note: str = ""
    order: int = 0
    """Its place among all statements of the dry run, by its first run."""
    runs: Counter[int] = field(default_factory=Counter)
    """How often it ran in which transaction, by the transaction's number."""


@dataclass
class Section:
    """What is recorded together: an operation, or the hooks of a phase."""

    entries: list[Entry] = field(default_factory=list)
    substituted: list[str] = field(default_factory=list)
    not_rehearsed: list[str] = field(default_factory=list)
    by_text: dict[str, Entry] = field(default_factory=dict)
    duration_ms: float = 0.0


@dataclass(frozen=True)
class StatementFailure:
    """A statement that PostgreSQL refused."""

    sql: str
    error: Exception
    violations: Violations | None = None


class Recorder:
    """Records the statements of one connection, section by section."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        transactions: RehearsedTransactions,
        predict: Callable[[Statement], Sequence[tuple[int, str]]],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._wrapper = wrapper
        self._raw: psycopg.Connection[Any] = wrapper.connection
        self._transactions = transactions
        self._session = transactions.session
        self._predict = predict
        self._check = check
        self.catalog = Catalog(self._session)
        self._last = self.catalog.at_start()
        self._unseen = False
        self.section = Section()
        self.timeline = LockTimeline(self.catalog)
        self.history = History(self._session, self.catalog)
        self._orders = count(1)
        self._transaction = 0
        self.failures: list[StatementFailure] = []
        self.callbacks = 0
        self.commit_ms = 0.0
        self.warnings: list[str] = []

    # Told by the rehearsed transactions.

    def transaction_ended(self, checked_ms: float = 0.0) -> None:
        """Free the locks that the real run would free now."""
        self.commit_ms += checked_ms
        self._transaction += 1
        self.timeline.release()

    def callbacks_dropped(self, count: int) -> None:
        """Count ``on_commit`` callbacks that were not called."""
        self.callbacks += count

    # Sections.

    @contextmanager
    def inside(self, section: Section) -> Iterator[None]:
        """Record into ``section``; its time is not counted for the section around it."""
        self.settle()
        outer, self.section = self.section, section
        started = perf_counter()
        try:
            yield
        finally:
            self.settle()
            elapsed = (perf_counter() - started) * 1000
            section.duration_ms += elapsed
            outer.duration_ms -= elapsed
            self.section = outer

    def settle(self) -> None:
        """Attribute what was not probed one by one to the statement that it belongs to."""
        if not self._unseen or self._session.status != TransactionStatus.INTRANS:
            return
        rest = self._probe()
        unprobed = [entry for entry in self.section.entries if entry.unprobed]
        if unprobed:
            # What was written is no work of a SELECT, which is asked last for that reason.
            changing = [e for e in unprobed if e.statement.kind is not Kind.SELECT]
            entry = (changing or unprobed)[-1]
            entry.effects.append(rest)
            entry.unprobed = False
            self._note_locks(rest, entry.statement.sql, perf_counter())

    def results(self, section: Section) -> tuple[StatementResult, ...]:
        """Return the statements of a section, savepoints left out."""
        return tuple(
            self._result(entry)
            for entry in section.entries
            if entry.statement.kind is not Kind.SAVEPOINT
        )

    def _result(self, entry: Entry) -> StatementResult:
        catalog = self.catalog
        all_effects = entry.effects
        wal = [e.wal_bytes for e in all_effects if e.wal_bytes is not None]
        return StatementResult(
            sql=entry.statement.sql,
            executions=entry.executions,
            duration_ms=entry.duration_ms,
            rows_affected=entry.rows,
            wal_bytes=sum(wal) if wal else None,
            locks=_unique(lock for e in all_effects for lock in e.table_locks(catalog)),
            rewrites=_unique(
                catalog.relations[oid].shown for e in all_effects for oid in e.rewrites
            ),
            scans=total_scans(all_effects, catalog),
            writes=total_writes(all_effects, catalog),
            indexes_built=_unique(name for e in all_effects for name in e.indexes_built),
            constraints=_unique(name for e in all_effects for name in e.constraints),
            note=entry.note,
        )

    @property
    def autocommit(self) -> bool:
        """Say whether the real run would send this statement outside a transaction."""
        return not self._transactions.in_transaction

    @contextmanager
    def measured(
        self,
        statement: Statement,
        cursor: Any,
        *,
        skipped: bool = False,
        plain: bool = False,
    ) -> Iterator[None]:
        """Measure what runs inside, between two probes where the statement deserves them."""
        self._check()
        entry = self._entry(statement)
        entry.order = entry.order or next(self._orders)
        entry.runs[self._transaction] += 1
        guarded = not skipped and self._guarded(statement)
        probing = not skipped and self._before(statement, entry)
        predicted = self._predicted(statement, entry) if probing else ()
        if probing and statement.hides_code:
            self._note_blindness(statement)
        alone = self.autocommit
        self._open(guarded=guarded, probing=probing)
        started = perf_counter()
        try:
            yield
            entry.duration_ms += (perf_counter() - started) * 1000
            if guarded and alone and statement.kind is not Kind.SELECT:
                self._transactions.check_constraints()
        except psycopg.Error as error:
            if not self._failed(statement, error, guarded=guarded, alone=alone):
                raise
            return
        entry.executions += 1
        self._transactions.check_intact()
        if skipped:
            entry.note = "not sent"
            return
        _add_rows(entry, cursor)
        release = f"RELEASE SAVEPOINT {_STATEMENT};" if guarded else ""
        if probing and self._can_probe:
            measured = self._probe(release, statement, predicted)
            if plain:
                measured = replace(measured, locks=self._of_real_form(predicted))
            entry.effects.append(measured)
            self._note_locks(measured, statement.sql, started)
        elif guarded:
            self._session.query(release)
        if guarded and alone:
            self._transactions.statement_ended()

    def _note_blindness(self, statement: Statement) -> None:
        """Say so where code may take locks that are held already: no view shows those."""
        held = [
            self.catalog.relations[oid].shown
            for oid, seen in self._last.relations.items()
            if any(LockMode[mode].blocks_writes for mode in seen.modes)
        ]
        if held:
            self.warnings.append(
                f"{statement.command} runs code that the parser can't see. What it locks of "
                f"{', '.join(sorted(held))} is not known: the dry run holds those already."
            )

    def _open(self, *, guarded: bool, probing: bool) -> None:
        """Set the savepoint and read the WAL position, in one round trip."""
        savepoint = f"SAVEPOINT {_STATEMENT};" if guarded else ""
        if probing:
            self._last = Probe(self.catalog.wal(savepoint), self._last.relations)
        elif guarded:
            self._session.query(savepoint)

    def _predicted(self, statement: Statement, entry: Entry) -> Sequence[tuple[int, str]]:
        if not self.catalog.relations:
            return ()
        if statement.kind is Kind.DDL or (statement.kind is Kind.DML and not entry.executions):
            return self._predict(statement)
        return ()

    def _guarded(self, statement: Statement) -> bool:
        """Say whether the statement gets a savepoint.

        Outside a transaction it has one of its own for real, so an error undoes it alone. And
        where DDL fails, the rows at fault are looked for in the state right before it.
        """
        if statement.kind in (Kind.SAVEPOINT, Kind.QUIET, Kind.TRANSACTION):
            return False
        return self._can_probe and (self.autocommit or statement.kind is Kind.DDL)

    def _entry(self, statement: Statement) -> Entry:
        if statement.kind in (Kind.DDL, Kind.UNPARSED):
            entry = Entry(statement)
            self.section.entries.append(entry)
            return entry
        entry = self.section.by_text.get(statement.sql) or Entry(statement)
        if not entry.executions and statement.sql not in self.section.by_text:
            self.section.by_text[statement.sql] = entry
            self.section.entries.append(entry)
        return entry

    def _before(self, statement: Statement, entry: Entry) -> bool:
        """Say whether to probe after the statement; first settle what was not probed so far."""
        if statement.kind in (Kind.QUIET, Kind.SAVEPOINT):
            return False
        if self._session.in_pipeline:
            self._unseen = entry.unprobed = True
        if not self._can_probe:
            return False
        if statement.kind is Kind.SELECT:
            if statement.reads_user_tables:
                self._unseen = entry.unprobed = True
            return False
        if statement.kind in (Kind.DML, Kind.OPAQUE) and entry.executions >= _PROBED_REPEATS:
            self._unseen = entry.unprobed = True
            return False
        if self._unseen:
            self.settle()
        return True

    @property
    def _can_probe(self) -> bool:
        return self._session.status == TransactionStatus.INTRANS and not self._session.in_pipeline

    def _of_real_form(self, predicted: Sequence[tuple[int, str]]) -> tuple[Any, ...]:
        """Return the locks of the statement as written, where its plain form was run."""
        known = self.catalog.relations
        return tuple((oid, mode, False) for oid, mode in predicted if oid in known)

    def _probe(
        self,
        before: str = "",
        statement: Statement | None = None,
        predicted: Sequence[tuple[int, str]] = (),
    ) -> Effects:
        objects = statement is None or statement.kind is not Kind.DML
        now = merge(self._last, self.catalog.probe(before, objects=objects))
        measured = effects(self.catalog, self._last, now, statement, predicted)
        self._last = now
        self._unseen = False
        return measured

    def _note_locks(self, measured: Effects, sql: str, started: float) -> None:
        for oid, mode, _inherited in measured.locks:
            self.timeline.take(oid, mode, started, sql)

    def _failed(
        self, statement: Statement, error: psycopg.Error, *, guarded: bool, alone: bool
    ) -> bool:
        """Note an error; return True where the dry run has to go on without the statement."""
        violations = None
        if guarded and self._session.status == TransactionStatus.INERROR:
            self._session.query(f"ROLLBACK TO SAVEPOINT {_STATEMENT}")
            violations = explain(error, statement, self._session)
            self._session.query(f"RELEASE SAVEPOINT {_STATEMENT}")
            if not alone:
                self._session.abort()  # whoever swallows the error finds what it would for real
        if alone and isinstance(error, psycopg.errors.InvalidTransactionTermination):
            self.section.not_rehearsed.append(
                f"{statement.command} ran code that commits by itself; "
                "only a copy of the database can show what it does."
            )
            return True
        self.failures.append(StatementFailure(statement.sql, error, violations))
        return False

    def commit_failed(self, error: psycopg.Error) -> None:
        """Note that the deferred constraints don't hold, with the transaction usable again."""
        self.failures.append(StatementFailure("COMMIT", error, explain(error, None, self._session)))


def _add_rows(entry: Entry, cursor: Any) -> None:
    if entry.statement.kind in (Kind.DML, Kind.UNPARSED) and cursor.rowcount >= 0:
        entry.rows = (entry.rows or 0) + cursor.rowcount


def _unique(items: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))
