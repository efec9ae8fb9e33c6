"""What each statement did, section by section: an operation, or what runs around them.

Probing after every statement would double the run time. So DDL is probed one by one, each DML
text a few times, each SELECT once, and the rest once when its section ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.measuring.dead_space import DeadSpaceLimit
from django_confiture.dry_run.measuring.effects import Effects
from django_confiture.dry_run.measuring.lock_timeline import LockTimeline
from django_confiture.dry_run.measuring.prober import Prober
from django_confiture.dry_run.measuring.relations import Catalog
from django_confiture.dry_run.measuring.stopwatch import Clock
from django_confiture.dry_run.recording.offending_rows import explain
from django_confiture.dry_run.recording.savepoints import Savepoints
from django_confiture.dry_run.recording.statement_log import (
    Entry,
    Section,
    StatementFailure,
    add_rows,
    statement_result,
)
from django_confiture.dry_run.results import Sampled, StatementResult
from django_confiture.dry_run.sql.parser import Kind, Statement
from django_confiture.dry_run.sql.unsafe_functions import why_not_rehearsed
from django_confiture.dry_run.transactions.rehearsed import (
    RehearsedTransactions,
    TransactionObserver,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_PROBED_RUNS = {Kind.DML: 3, Kind.OPAQUE: 3, Kind.SELECT: 1}
"""After so many runs of one text in an operation, the rest is measured at its end."""

_STATEMENT = "confiture_statement"


@dataclass(frozen=True)
class Care:
    """How one statement is measured."""

    guarded: bool
    """Behind a savepoint."""
    alone: bool
    """For real it would have a transaction for itself."""
    probing: bool
    predicted: Sequence[tuple[int, str]]
    plain: bool
    """What is run is a form of it that a transaction can hold."""


class Recorder(TransactionObserver):
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
        transactions.observer = self
        self._session = transactions.session
        self._predict = predict
        self._check = check
        self.clock = Clock()
        self.catalog = Catalog(self._session)
        self.sample: Callable[[Statement, str], Sampled | None] | None = None
        self._sampled: Sampled | None = None
        self.dead_space = DeadSpaceLimit(self._session, self.catalog)
        self._prober = Prober(self._session, self.catalog, self.clock)
        self.section = Section()
        self.timeline = LockTimeline(self.catalog, self.clock)
        self._savepoints = Savepoints(self._prober, self.timeline)
        self._orders = count(1)
        self._transaction = 0
        self.failures: list[StatementFailure] = []
        self.callbacks = 0
        self.commit_ms = 0.0
        self.warnings: list[str] = []

    # Told by the rehearsed transactions.

    def transaction_begun(self) -> None:
        """Remember what there was before it."""
        self._savepoints.begun()

    def transaction_ended(self, checked_ms: float = 0.0, *, kept: bool = True) -> None:
        """Free the locks that the real run would free now."""
        self._savepoints.ended(kept=kept)
        self.commit_ms += checked_ms
        self._transaction += 1
        self._prober.commit_checked()
        self.timeline.release()

    def callbacks_dropped(self, count: int) -> None:
        """Count ``on_commit`` callbacks that were not called."""
        self.callbacks += count

    def savepoint(self, statement: Statement) -> None:
        """Follow what a savepoint keeps and frees, whoever has sent it."""
        self._savepoints.sent(statement)

    def note_substituted(self, text: str) -> None:
        """Note why what runs now is rehearsed in another form."""
        self.section.substituted.append(text)

    def note_not_rehearsed(self, text: str) -> None:
        """Note why something of what runs now is not rehearsed."""
        self.section.not_rehearsed.append(text)

    # Sections.

    @contextmanager
    def inside(self, section: Section) -> Iterator[None]:
        """Record into ``section``; its time is not counted for the section around it."""
        self.settle()
        outer, self.section = self.section, section
        started = self.clock.now()
        section.started = section.started or started
        try:
            yield
        finally:
            self.settle()
            elapsed = (self.clock.now() - started) * 1000
            section.duration_ms += elapsed
            outer.duration_ms -= elapsed
            self.section = outer

    def settle(self) -> None:
        """Attribute what was not probed one by one to the statement that it belongs to."""
        if not self._prober.unseen or self._session.status != TransactionStatus.INTRANS:
            return
        rest = self._measured()
        unprobed = [entry for entry in self.section.entries if entry.unprobed]
        if unprobed:
            # What was written is no work of a SELECT, which is asked last for that reason.
            changing = [e for e in unprobed if e.statement.kind is not Kind.SELECT]
            entry = (changing or unprobed)[-1]
            known = entry.changes
            entry.effects.append(self.section.attributed(rest))
            entry.unprobed = False
            self._note_locks(rest, entry.shown, self.clock.now())
            self._note_rows(entry.changes - known, self.clock.now())

    def results(self, section: Section) -> tuple[StatementResult, ...]:
        """Return the statements of a section, savepoints left out."""
        return tuple(
            statement_result(entry, self.catalog, self.timeline.began)
            for entry in section.entries
            if entry.statement.kind is not Kind.SAVEPOINT
        )

    @property
    def autocommit(self) -> bool:
        """Say whether the real run would send this statement outside a transaction."""
        return not self._transactions.in_transaction

    def try_samples(self, statement: Statement, text: str) -> Sampled | None:
        """Run a statement on samples of its tables first, where that was asked for."""
        if self.sample is None or not self._prober.possible:
            return None
        known = self.section.by_text.get(statement.sql)
        if known is not None and known.executions:
            return None
        self.settle()
        with self.clock.stopped():
            self._sampled = self.sample(statement, text)
            self._prober.recount()
        return self._sampled

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
        entry = self._noted(statement)
        care = self._care(statement, entry, cursor, skipped=skipped, plain=plain)
        self.dead_space.before(statement, care.predicted)
        savepoint = f"SAVEPOINT {_STATEMENT};" if care.guarded else ""
        self._prober.before(savepoint, probing=care.probing)
        started = self.clock.now()
        entry.started = entry.started or started
        entry.sampled, self._sampled = entry.sampled or self._sampled, None
        try:
            yield
            entry.duration_ms += (self.clock.now() - started) * 1000
            if care.guarded and care.alone and statement.kind is not Kind.SELECT:
                self._transactions.check_constraints()
        except psycopg.Error as error:
            for oid, mode, _inherited in self._known(care.predicted):
                self.timeline.take(oid, mode, started, entry.shown)
            if not self._failed(statement, error, care):
                raise
            return
        entry.executions += 1
        self._transactions.check_intact()
        if skipped:
            entry.note = "not sent"
            return
        add_rows(entry, cursor)
        self._ran(statement, entry, care, started)
        self.dead_space.ran(statement, cursor.rowcount, probed=care.probing)

    def _care(
        self, statement: Statement, entry: Entry, cursor: Any, *, skipped: bool, plain: bool
    ) -> Care:
        guarded = not skipped and self._guarded(statement)
        probing = not skipped and self._before(statement, entry, cursor)
        predicted = self._predicted(statement, entry) if probing else ()
        if probing:
            self._note_blindness(statement)
        return Care(guarded, self.autocommit, probing, predicted, plain)

    def _ran(self, statement: Statement, entry: Entry, care: Care, started: float) -> None:
        """Note what the statement did, and end the transaction that it may have for itself."""
        release = f"RELEASE SAVEPOINT {_STATEMENT};" if care.guarded else ""
        if care.probing and self._prober.possible:
            measured = self._measured(release, statement, care.predicted)
            if care.plain:
                measured = replace(measured, locks=self._known(care.predicted))
            entry.effects.append(self.section.attributed(measured))
            self._note_locks(measured, entry.shown, started)
        elif care.guarded:
            self._session.query(release)
        self._note_rows(entry.changes, started)
        if care.guarded and care.alone:
            self._prober.wrote = False  # its COMMIT was measured with it
            self._transactions.statement_ended()
        if statement.kind is Kind.SAVEPOINT:
            self.savepoint(statement)

    def _note_blindness(self, statement: Statement) -> None:
        """Say so where code may take locks that are held already: no view shows those."""
        if not statement.hides_code:
            return
        held = [
            self.catalog.relations[oid].shown
            for oid, seen in self._prober.last.relations.items()
            if any(LockMode[mode].blocks_writes for mode in seen.modes)
        ]
        if held:
            self.warnings.append(
                f"{statement.command} runs code that the parser can't see. What it locks of "
                f"{', '.join(sorted(held))} is not known: the dry run holds those already."
            )

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
        return self._prober.possible and (self.autocommit or statement.may_meet_rows)

    def _noted(self, statement: Statement) -> Entry:
        entry = self.section.entry_of(statement)
        entry.order = entry.order or next(self._orders)
        entry.runs[self._transaction] += 1
        return entry

    def _before(self, statement: Statement, entry: Entry, cursor: Any) -> bool:
        """Say whether to probe after the statement; first settle what was not probed so far."""
        # What a cursor of the server reads is read after its statement has ended.
        later = isinstance(cursor, psycopg.ServerCursor) or statement.what == "fetch_stmt"
        if statement.kind in (Kind.QUIET, Kind.SAVEPOINT) and not later:
            return False
        if statement.kind is Kind.SELECT and not (
            statement.reads_user_tables or statement.functions_called
        ):
            return False
        often = entry.executions >= _PROBED_RUNS.get(statement.kind, math.inf)
        if later or often or self._session.in_pipeline:
            self._prober.unseen += 1
            entry.unprobed = True
            return False
        if not self._prober.possible:
            return False
        if self._prober.unseen:
            self.settle()
        return True

    def _known(self, predicted: Sequence[tuple[int, str]]) -> tuple[Any, ...]:
        """Return what it takes by PostgreSQL's rules, of the relations of the snapshot."""
        known = self.catalog.relations
        return tuple((oid, mode, False) for oid, mode in predicted if oid in known)

    def _measured(
        self,
        release: str = "",
        statement: Statement | None = None,
        predicted: Sequence[tuple[int, str]] = (),
    ) -> Effects:
        measured = self._prober.after(release, statement, predicted)
        self.dead_space.note(measured, self._prober.last)
        return measured

    def _note_locks(self, measured: Effects, sql: str, started: float) -> None:
        for oid, mode, _inherited in measured.locks:
            self.timeline.take(oid, mode, started, sql)

    def _note_rows(self, oids: Iterable[int], started: float) -> None:
        for oid in oids:
            self.timeline.change_rows(oid, started)

    def _failed(self, statement: Statement, error: psycopg.Error, care: Care) -> bool:
        """Note an error; return True where the dry run has to go on without the statement."""
        violations = None
        if care.guarded and self._session.status == TransactionStatus.INERROR:
            self._session.query(f"ROLLBACK TO SAVEPOINT {_STATEMENT}")
            violations = explain(error, statement, self._session)
            self._session.query(f"RELEASE SAVEPOINT {_STATEMENT}")
            if not care.alone:
                self._session.abort()  # whoever swallows the error finds what it would for real
        if care.guarded and care.alone and (why := why_not_rehearsed(statement, error)):
            self.section.not_rehearsed.append(why)
            return True
        shown = self.section.new_entry(statement).shown
        self.failures.append(StatementFailure(shown, error, violations))
        return False

    def commit_failed(self, error: psycopg.Error) -> None:
        """Note that the deferred constraints don't hold, with the transaction usable again."""
        self.failures.append(StatementFailure("COMMIT", error, explain(error, None, self._session)))
