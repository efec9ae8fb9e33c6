"""Records and measures the statements of a connection whose transaction is rolled back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg

from django_confiture.dry_run.recording.foreign_reads import ForeignReads
from django_confiture.dry_run.recording.instruments import Instruments
from django_confiture.dry_run.recording.measurer import Measurer
from django_confiture.dry_run.recording.new_tables import NewTables
from django_confiture.dry_run.recording.offending_rows import explain
from django_confiture.dry_run.recording.rows_by_chance import BY_CHANCE, RowsByChance
from django_confiture.dry_run.results import Sampled
from django_confiture.dry_run.results.observer import Observer
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.dry_run.transactions.closing import LEFT_OUT, holds_state
from django_confiture.dry_run.transactions.observer import TransactionObserver
from django_confiture.dry_run.transactions.rehearsed import RehearsedTransactions

Sample = Callable[[Statement, str], Sampled | None]
"""Runs a statement, given with its parameters in it, on samples of its tables."""

_UNGUARDED = (Kind.SAVEPOINT, Kind.QUIET, Kind.TRANSACTION)


class StatementRecorder(TransactionObserver):
    """Records each statement where it is caught, and the rehearsed transactions."""

    def __init__(
        self,
        instruments: Instruments,
        transactions: RehearsedTransactions,
        *,
        check: Callable[[], None] = lambda: None,
        sample: Sample | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Take as ``check`` what raises before a statement where the dry run has to end."""
        self._instruments = instruments
        self._session = instruments.session
        self._log = instruments.log
        self._transactions = transactions
        self._measurer = Measurer(instruments, transactions, transactions.statement_savepoint)
        self._by_chance = RowsByChance()
        self._new_tables = NewTables()
        self._foreign = ForeignReads(instruments)
        self._check = check
        self._sample = sample
        self._observer = observer or Observer()

    # Told of statements.

    @property
    def autocommit(self) -> bool:
        """Whether the real run would send this statement outside a transaction."""
        return not self._transactions.in_transaction

    def changed_before(self) -> bool:
        """Return whether transactions that have ended changed anything."""
        return self._foreign.changed_before

    def own_work(self) -> AbstractContextManager[None]:
        """Stop the clock inside the block."""
        return self._instruments.clock.stopped()

    @contextmanager
    def measured(
        self,
        statement: Statement,
        cursor: Any,
        *,
        skipped: bool = False,
        plain: bool = False,
        text: Callable[[], str] | None = None,
    ) -> Iterator[None]:
        """Measure what runs inside."""
        with self.own_work():
            self._check()
            self._instruments.dead_space.check()
            if skipped:
                with self._measurer.unsent(statement):
                    yield
                return
            sampled = self._sampled(statement, text) if text is not None else None
            with self._measurer.measured(
                statement,
                cursor,
                guarded=self._is_guarded(statement),
                alone=self._transactions if self.autocommit else None,
                plain=plain,
            ) as entry:
                entry.sampled = entry.sampled or sampled
                yield
            self._new_tables.ran(statement)
            by_chance = self._by_chance.ran(statement, cursor.rowcount)
            if by_chance is not None:
                self._log.note_chance(statement, BY_CHANCE if by_chance else "")
            if why := self._foreign.ran(statement):
                self._log.note_not_rehearsed(why)
            self._transactions.timeouts.sent(in_transaction=not self.autocommit)

    def note_substituted(self, text: str) -> None:
        """Note why what runs now is rehearsed in another form."""
        self._log.note_substituted(text)

    def note_not_rehearsed(self, text: str) -> None:
        """Note why something of what runs now is not rehearsed."""
        self._log.note_not_rehearsed(text)

    def _is_guarded(self, statement: Statement) -> bool:
        """Return whether the statement gets a savepoint.

        Outside a transaction it has one of its own for real, so an error undoes it alone. And
        where DDL fails, the rows at fault are looked for in the state right before it.
        """
        if not self._instruments.prober.possible:
            return False
        if statement.kind in _UNGUARDED and not statement.held_cursor:
            return False
        if self.autocommit:
            return True
        return statement.may_meet_rows and not self._new_tables.is_without_rows(statement)

    def _sampled(self, statement: Statement, text: Callable[[], str]) -> Sampled | None:
        """Run a statement on samples of its tables first, where that was asked for."""
        if self._sample is None:
            return None
        sampled = None
        if self._instruments.prober.possible and self._log.section.is_first_of_shape(statement):
            self._measurer.probes.boundary()
            sampled = self._sample(statement, text())
            self._instruments.prober.recount()
        self._observer.sampled(sampled)
        return sampled

    # Told by the rehearsed transactions.

    def transaction_begun(self) -> None:
        """Remember what was held before the transaction, and when it began."""
        self._transactions.timeouts.begun()
        self._instruments.savepoints.begun()

    def transaction_ended(self, checked_ms: float = 0.0, *, kept: bool = True) -> None:
        """Free the locks that the real run would free now."""
        with self.own_work():
            self._measurer.probes.charge_refused()
        self._transactions.timeouts.ended()
        self._instruments.savepoints.ended(kept=kept)
        self._by_chance.ended(kept=kept)
        self._new_tables.ended()
        self._foreign.ended(kept=kept)
        self._log.end_transaction(checked_ms)
        self._instruments.prober.commit_checked()
        self._instruments.timeline.release()
        if kept:
            self._instruments.successors.transaction_committed()

    def callback_registered(self, why: str) -> None:
        """Note why what registers a callback is not rehearsed wholly."""
        self._log.note_not_rehearsed(why)

    def callbacks_dropped(self, count: int) -> None:
        """Count ``on_commit`` callbacks that were not called."""
        self._log.callbacks_dropped(count)

    def close_left_out(self, *, has_settings: bool) -> None:
        """Note that the connection, which the migration has closed, keeps what it holds."""
        possible = self._instruments.prober.possible
        if has_settings or (possible and holds_state(self._session)):
            self._log.note_not_rehearsed(LEFT_OUT)

    def savepoint(self, statement: Statement) -> None:
        """Follow what a savepoint keeps and frees, whatever has sent it."""
        self._instruments.savepoints.sent(statement)

    def commit_failed(self, error: psycopg.Error) -> None:
        """Note that the deferred constraints don't hold, with the transaction usable again."""
        with self.own_work():
            self._log.note_failure("COMMIT", error, explain(error, None, self._session))
            self._instruments.prober.recount()  # the search for the rows at fault is ours
