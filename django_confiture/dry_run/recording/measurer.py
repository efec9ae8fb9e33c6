"""Measures one statement while it runs: its savepoint, its time, its error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.recording.instruments import Instruments
from django_confiture.dry_run.recording.offending_rows import explain
from django_confiture.dry_run.recording.sections import SectionEntry
from django_confiture.dry_run.recording.statement_probes import Care, StatementProbes
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.dry_run.sql.rows.unsafe_functions import why_not_rehearsed
from django_confiture.dry_run.transactions.statement_savepoint import StatementSavepoint


class Transactions(Protocol):
    """The transactions that statements run in: rehearsed ones, or real ones on a clone."""

    def check_intact(self) -> None:
        """Raise if the dry run can't go on."""


class StatementTransaction(Protocol):
    """The transaction that a statement would have for itself, which is rehearsed."""

    def check_constraints(self) -> float:
        """Check what its COMMIT would check; raises what that raises."""

    def statement_ended(self) -> None:
        """Do what the end of the transaction would do."""


class Measurer:
    """Measures a statement that is sent, one that is skipped, and one that is only timed."""

    def __init__(
        self,
        instruments: Instruments,
        transactions: Transactions,
        savepoint: StatementSavepoint,
    ) -> None:
        self._savepoint = savepoint
        self._instruments = instruments
        self._session = instruments.session
        self._clock = instruments.clock
        self._log = instruments.log
        self._transactions = transactions
        self._probes = StatementProbes(instruments)

    @property
    def probes(self) -> StatementProbes:
        """What is asked of the server before and after statements."""
        return self._probes

    @contextmanager
    def measured(
        self,
        statement: Statement,
        cursor: Any,
        *,
        guarded: bool,
        alone: StatementTransaction | None = None,
        plain: bool = False,
    ) -> Iterator[SectionEntry]:
        """Measure what runs inside, between two probes where the statement deserves them.

        ``guarded`` sets a savepoint before it, ``alone`` is the transaction that it would have for
        itself, ``plain`` says that a form of it is sent which a transaction can hold.
        """
        savepoint = self._savepoint.sql_before() if guarded else self._unguarded(statement)
        care = self._probes.read_before(statement, cursor, savepoint=savepoint, plain=plain)
        try:
            with self._timed(care.entry):
                yield care.entry
            if guarded and alone is not None and statement.kind is not Kind.SELECT:
                alone.check_constraints()
        except BaseException as error:
            if not self._goes_on_after(error, statement, care, guarded=guarded, alone=alone):
                raise
            return
        care.entry.executions += 1
        self._transactions.check_intact()
        care.entry.add_rows(cursor)
        release = self._savepoint.sql_after(alone=alone is not None) if guarded else ""
        self._probes.read_after(statement, cursor, care, release=release)
        if guarded and alone is not None:
            self._instruments.prober.committed_with_statement()
            alone.statement_ended()
        if statement.kind is Kind.SAVEPOINT:
            self._instruments.savepoints.sent(statement)

    def _unguarded(self, statement: Statement) -> str:
        """Return what to send before a statement that gets no savepoint."""
        if statement.kind is Kind.SAVEPOINT:
            return self._savepoint.out_of_the_way()
        self._savepoint.passed()
        return ""

    @contextmanager
    def unsent(self, statement: Statement) -> Iterator[None]:
        """Note a statement that is not sent at all."""
        entry = self._log.noted(statement)
        entry.begin(self._clock.now())
        with self._timed(entry):
            yield
        entry.executions += 1
        entry.note = "not sent"
        self._transactions.check_intact()

    @contextmanager
    def plainly(self, statement: Statement) -> Iterator[SectionEntry]:
        """Only note that a statement ran, and for how long."""
        entry = self._log.noted(statement)
        entry.begin(self._clock.now())
        try:
            with self._timed(entry):
                yield entry
        except psycopg.Error as error:
            self._note_failure(statement, error)
            raise
        finally:
            self._transactions.check_intact()
        entry.executions += 1

    @contextmanager
    def _timed(self, entry: SectionEntry) -> Iterator[None]:
        """Let the stopwatch run; the time of what fails counts as well."""
        started = self._clock.now()
        try:
            with self._clock.running():
                yield
        finally:
            self._leave_out_waits(entry)
            entry.duration_ms += (self._clock.now() - started) * 1000

    def _leave_out_waits(self, entry: SectionEntry) -> None:
        """Keep what was waited for other sessions out of all times, and note it apart."""
        waits = self._instruments.waits
        if waits is None:
            return
        taken = waits.take()
        entry.waits = [*(entry.waits or ()), *taken]
        self._clock.leave_out(sum(each.ms for each in taken) / 1000)

    def _goes_on_after(
        self,
        error: BaseException,
        statement: Statement,
        care: Care,
        *,
        guarded: bool,
        alone: StatementTransaction | None,
    ) -> bool:
        """Note an error; return whether the dry run has to go on without the statement."""
        was_sent = self._session.status != TransactionStatus.INTRANS
        if was_sent:
            self._probes.refused(care)
        violations = None
        if guarded:
            self._savepoint.gone()
        if guarded and not was_sent:
            self._session.query(self._savepoint.RELEASE)  # the driver has refused it
        elif guarded and self._session.status == TransactionStatus.INERROR:
            self._session.query(self._savepoint.GO_BACK)
            self._probes.charge_refused()
            if isinstance(error, psycopg.Error):
                violations = explain(error, statement, self._session)
                self._instruments.prober.recount()  # the search for the rows at fault is ours
            self._session.query(self._savepoint.RELEASE)
            if alone is None:
                self._session.abort()  # code that swallows the error finds what it would for real
        if not isinstance(error, psycopg.Error):
            return False
        if guarded and alone is not None and (why := why_not_rehearsed(statement, error)):
            self._log.note_not_rehearsed(why)
            return True
        self._note_failure(statement, error, violations)
        return False

    def _note_failure(
        self, statement: Statement, error: psycopg.Error, violations: Any = None
    ) -> None:
        shown = self._log.section.new_entry(statement).shown
        self._log.note_failure(shown, error, violations)
