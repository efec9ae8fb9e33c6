"""Records statements on a clone, where every transaction is real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.counters import Counters
from django_confiture.dry_run.measuring.lock_sampler import LockWatch, pending
from django_confiture.dry_run.measuring.relations import Probe
from django_confiture.dry_run.recording.foreign_reads import ForeignReads
from django_confiture.dry_run.recording.instruments import Instruments
from django_confiture.dry_run.recording.measurer import Measurer
from django_confiture.dry_run.recording.offending_rows import explain
from django_confiture.dry_run.recording.outside_watch import OutsideWatch, calm
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.dry_run.sql.transactions.concurrently import commits_by_partition
from django_confiture.dry_run.transactions.real import RealTransactions
from django_confiture.dry_run.transactions.statement_savepoint import StatementSavepoint

_Way = Callable[[Statement, Any], AbstractContextManager[Any]]

_UNCHANGED = Counters()

_LOOKED_INTO = {"alter_table_stmt", "index_stmt"}
"""Statements that existing rows can make fail: a savepoint lets us look for those rows."""

_HARMLESS = r"""
SELECT bool_and(l.lanname IN ('plpgsql', 'sql') AND p.prosrc !~* '\m(commit|rollback|call)\M')
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.prokind = 'p' AND p.proname = $1
"""


class CloneRecorder:
    """Records each statement where it is caught, and the transactions, which are real.

    A statement that would be alone in its transaction gets the same transaction from us, so that
    it can be asked for its locks and counters before it ends. What can't be in one is watched
    from outside.
    """

    def __init__(
        self, instruments: Instruments, transactions: RealTransactions, watch: LockWatch
    ) -> None:
        self._instruments = instruments
        self._session = instruments.session
        self._clock = instruments.clock
        self._log = instruments.log
        self._prober = instruments.prober
        self._transactions = transactions
        savepoint = StatementSavepoint(instruments.session, ahead=False)
        self._measurer = Measurer(instruments, transactions, savepoint)
        self._outside = OutsideWatch(instruments, transactions, watch)
        self._foreign = ForeignReads(instruments, on_clone=True)
        self._committed = calm(self._prober.last)
        self._prober.start_from(self._committed)

    # Told of statements.

    @property
    def autocommit(self) -> bool:
        """Whether a statement that is sent now is outside a transaction."""
        return not self._transactions.in_transaction

    def own_work(self) -> AbstractContextManager[None]:
        """Stop the clock inside the block."""
        return self._clock.stopped()

    @contextmanager
    def measured(
        self,
        statement: Statement,
        cursor: Any,
        *,
        skipped: bool = False,
        plain: bool = False,  # noqa: ARG002 - nothing is exchanged for its plain form
        text: Callable[[], str] | None = None,  # noqa: ARG002 - nor is anything tried on samples
    ) -> Iterator[None]:
        """Measure what runs inside, in the transaction that it has for real."""
        with self.own_work():
            if skipped:
                with self._measurer.unsent(statement):
                    yield
                return
            self._transactions.timeouts.check()
            with self._way_of(statement, cursor)(statement, cursor):
                yield
            self._transactions.timeouts.sent(in_transaction=not self.autocommit)
            if why := self._foreign.ran(statement):
                self._log.note_not_rehearsed(why)

    def note_substituted(self, text: str) -> None:
        """Note why what runs now is rehearsed in another form."""
        self._log.note_substituted(text)

    def note_not_rehearsed(self, text: str) -> None:
        """Note why something of what runs now is not rehearsed."""
        self._log.note_not_rehearsed(text)

    def _way_of(self, statement: Statement, cursor: Any) -> _Way:
        if statement.kind is Kind.TRANSACTION:
            return self._controlling
        if self._session.in_pipeline or not self._transactions.idle:
            guarded = self._prober.possible and statement.what in _LOOKED_INTO
            return partial(self._measurer.measured, guarded=guarded)
        if not self._transactions.commits_by_itself:
            self._transactions.begin()
            guarded = statement.what in _LOOKED_INTO
            return partial(self._measurer.measured, guarded=guarded)
        if self._needs_no_transaction(statement, cursor):
            return self._plainly
        if self._refuses_a_transaction(statement):
            return self._from_outside
        return self._alone

    @staticmethod
    def _needs_no_transaction(statement: Statement, cursor: Any) -> bool:
        """Return whether there is nothing to measure, or an error that a transaction would hide."""
        quiet = statement.kind in (Kind.QUIET, Kind.SAVEPOINT) or statement.what == "lock_stmt"
        return quiet or isinstance(cursor, psycopg.ServerCursor)

    def _refuses_a_transaction(self, statement: Statement) -> bool:
        if statement.what == "call_stmt":
            name = statement.node.call_stmt.funccall.funcname[-1].string.sval
            return self._session.value(_HARMLESS, [name]) != "t"
        if statement.kind is Kind.UNPARSED or statement.outside_transaction or statement.may_commit:
            return True
        return commits_by_partition(statement, self._session)

    def _plainly(self, statement: Statement, _cursor: Any) -> AbstractContextManager[Any]:
        return self._measurer.plainly(statement)

    @contextmanager
    def _controlling(self, statement: Statement, _cursor: Any) -> Iterator[None]:
        """Send BEGIN, COMMIT or ROLLBACK as it is."""
        with self._transactions.controlled(statement), self._measurer.plainly(statement):
            yield

    @contextmanager
    def _alone(self, statement: Statement, cursor: Any) -> Iterator[None]:
        """Wrap a statement in autocommit in a transaction, to measure it before that ends."""
        self._transactions.begin()
        try:
            with self._measurer.measured(statement, cursor, guarded=False) as entry:
                yield
        except BaseException as error:
            if self._session.status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                self._transactions.roll_back()
            if isinstance(error, psycopg.Error):
                self._explain(statement, error)
            raise
        self._measurer.probes.boundary()
        started = self._clock.now()
        try:
            with self._clock.running():
                self._transactions.commit()
        except psycopg.Error as error:
            self._log.explain_failure(entry.shown, error)
            raise
        finally:
            entry.duration_ms += (self._clock.now() - started) * 1000

    @contextmanager
    def _from_outside(self, statement: Statement, cursor: Any) -> Iterator[None]:
        """Run what can't be in a transaction as it is, with its locks watched meanwhile."""
        probes = self._measurer.probes
        predicted = probes.locks.predict(statement) if statement.node is not None else ()
        running = self._measurer.plainly(statement)
        try:
            with self._outside.around(statement, predicted, running) as entry:
                yield
        except psycopg.Error as error:
            self._explain(statement, error)
            raise
        finally:
            if self._transactions.idle:
                self._committed = self._prober.last
                self._log.end_transaction()
        entry.add_rows(cursor)

    def _explain(self, statement: Statement, error: psycopg.Error) -> None:
        """Look for the rows at fault, with the database as it was before the statement."""
        with suppress(psycopg.Error), self._transactions.reading():
            violations = explain(error, statement, self._session)
            shown = self._log.section.new_entry(statement).shown
            self._log.explain_failure(shown, error, violations)

    # Told by the transactions.

    def transaction_begun(self) -> None:
        """Take the position of the WAL, and the counters where they can't be reset."""
        self._transactions.timeouts.begun()
        with self.own_work():
            catalog, relations = self._instruments.catalog, self._prober.last.relations
            if not self._transactions.flushes:
                counted, reads = pending(self._session), catalog.index_reads()
                relations = {
                    oid: replace(
                        seen, counters=counted.get(oid, _UNCHANGED), index_reads=reads.get(oid, {})
                    )
                    for oid, seen in relations.items()
                }
            self._prober.start_from(Probe(catalog.wal(), relations))

    def transaction_ending(self) -> None:
        """Measure what has not been, while it can be."""
        self._measurer.probes.boundary()

    def transaction_over(self, *, committed: bool, checked_ms: float) -> None:
        """Free the locks, and begin to count from zero."""
        self._transactions.timeouts.ended()
        self._instruments.savepoints.ended(kept=True)
        self._foreign.ended(kept=committed)
        self._log.end_transaction(checked_ms)
        self._instruments.timeline.release()
        if committed:
            self._instruments.successors.transaction_committed()
            self._committed = calm(self._prober.last)
        self._prober.start_from(self._committed)
        self._log.refused = None  # what it had read was counted for the transaction alone

    def callback_registered(self, why: str) -> None:
        """Note why what registers a callback is not rehearsed wholly."""
        self._log.note_not_rehearsed(why)

    def callbacks_dropped(self, count: int) -> None:
        """Count ``on_commit`` callbacks that were not called."""
        self._log.callbacks_dropped(count)

    def savepoint(self, statement: Statement) -> None:
        """Follow what a savepoint keeps and frees, whatever has sent it."""
        self._instruments.savepoints.sent(statement)

    def commit_failed(self, error: psycopg.Error) -> None:
        """Note that the deferred constraints don't hold, with the transaction usable again."""
        with self.own_work():
            self._log.note_failure("COMMIT", error, explain(error, None, self._session))
