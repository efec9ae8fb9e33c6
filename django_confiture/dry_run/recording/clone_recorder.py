"""Recording on a copy of the database, where every transaction is real."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.effects import effects
from django_confiture.dry_run.measuring.lock_sampler import (
    LockWatch,
    Seen,
    everything,
    invalid_indexes,
    pending,
    with_locks,
)
from django_confiture.dry_run.measuring.relations import Counters, Probe
from django_confiture.dry_run.recording.offending_rows import explain
from django_confiture.dry_run.recording.recorder import Care, Recorder
from django_confiture.dry_run.recording.statement_log import StatementFailure, add_rows
from django_confiture.dry_run.sql.concurrently import commits_by_partition
from django_confiture.dry_run.sql.parser import Kind, Statement

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_confiture.dry_run.results import Violations
    from django_confiture.dry_run.transactions.real import CommittedTransactions

_Way = Callable[[Statement, Any], AbstractContextManager[None]]

_UNCHANGED = Counters()

_PLAINLY = Care(guarded=False, alone=False, probing=False, predicted=(), plain=False)

_LOOKED_INTO = {"alter_table_stmt", "index_stmt"}
"""Statements that rows can stand in the way of: a savepoint lets us look for them."""

_HARMLESS = r"""
SELECT bool_and(l.lanname IN ('plpgsql', 'sql') AND p.prosrc !~* '\m(commit|rollback|call)\M')
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.prokind = 'p' AND p.proname = $1
"""


class CommittedRecorder(Recorder):
    """Records the statements of one connection whose transactions are its own.

    A statement that would be alone in its transaction gets the same transaction from us, so that
    it can be asked for its locks and counters before it ends. What can't be in one is watched
    from outside.
    """

    _transactions: CommittedTransactions  # type: ignore[assignment]

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        transactions: CommittedTransactions,
        predict: Callable[[Statement], Sequence[tuple[int, str]]],
        watch: LockWatch,
    ) -> None:
        super().__init__(wrapper, transactions, predict)  # type: ignore[arg-type]
        self._watch = watch
        self._committed = self._prober.last = _calm(self._prober.last)
        self._own = False
        """Whether the transaction is ours, for one statement."""

    # Told by the transactions.

    def transaction_begun(self) -> None:
        """Take the position of the WAL, and the counters where they can't be reset."""
        relations = self._prober.last.relations
        if not self._transactions.flushes:
            counted, reads = pending(self._session), self.catalog.index_reads()
            relations = {
                oid: replace(
                    seen, counters=counted.get(oid, _UNCHANGED), index_reads=reads.get(oid, {})
                )
                for oid, seen in relations.items()
            }
        self._prober.last = Probe(self.catalog.wal(), relations)

    def transaction_ending(self) -> None:
        """Measure what has not been, while it can be."""
        self.settle()

    def transaction_over(self, *, committed: bool, checked_ms: float) -> None:
        """Free the locks, and begin to count anew."""
        self.transaction_ended(checked_ms)
        self._prober.unseen = 0
        if committed:
            self._committed = _calm(self._prober.last)
        self._prober.last = self._committed

    # Statements.

    @contextmanager
    def measured(
        self,
        statement: Statement,
        cursor: Any,
        *,
        skipped: bool = False,
        plain: bool = False,  # noqa: ARG002 - nothing is exchanged for its plain form
    ) -> Iterator[None]:
        """Measure what runs inside, in the transaction that it has for real."""
        with self._chosen(statement, cursor, skipped=skipped)(statement, cursor):
            yield

    def _chosen(self, statement: Statement, cursor: Any, *, skipped: bool) -> _Way:
        if skipped:
            return partial(super().measured, skipped=True)
        if statement.kind is Kind.TRANSACTION:
            return self._controlling
        if self._session.in_pipeline or not self._transactions.idle:
            return super().measured
        if not self._raw.autocommit:
            self._transactions.begin()
            return super().measured
        if self._needs_no_transaction(statement, cursor):
            return self._plainly
        if self._refuses_a_transaction(statement):
            return self._from_outside
        return self._alone

    @staticmethod
    def _needs_no_transaction(statement: Statement, cursor: Any) -> bool:
        """Say whether there is nothing to measure, or an error that a transaction would hide."""
        quiet = statement.kind in (Kind.QUIET, Kind.SAVEPOINT) or statement.what == "lock_stmt"
        return quiet or isinstance(cursor, psycopg.ServerCursor)

    def _refuses_a_transaction(self, statement: Statement) -> bool:
        if statement.what == "call_stmt":
            name = statement.node.call_stmt.funccall.funcname[-1].string.sval
            return self._session.value(_HARMLESS, [name]) != "t"
        if statement.kind is Kind.UNPARSED or statement.outside_transaction or statement.may_commit:
            return True
        return commits_by_partition(statement, self._session)

    @contextmanager
    def _plainly(self, statement: Statement, _cursor: Any) -> Iterator[None]:
        """Only note that it ran, and for how long."""
        self._check()
        entry = self._noted(statement)
        started = self.clock.now()
        entry.started = entry.started or started
        try:
            yield
        except psycopg.Error as error:
            self._failed(statement, error, _PLAINLY)
            raise
        finally:
            entry.duration_ms += (self.clock.now() - started) * 1000
            self._transactions.check_intact()
        entry.executions += 1

    @contextmanager
    def _controlling(self, statement: Statement, cursor: Any) -> Iterator[None]:
        """Let BEGIN, COMMIT or ROLLBACK do what it does."""
        with self._transactions.controlled(statement), self._plainly(statement, cursor):
            yield

    @contextmanager
    def _alone(self, statement: Statement, cursor: Any) -> Iterator[None]:
        """Give a statement in autocommit its transaction, to look into it before it ends."""
        self._transactions.begin()
        self._own = True
        try:
            with super().measured(statement, cursor):
                yield
        except BaseException as error:
            if self._session.status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                self._transactions.roll_back()
            if isinstance(error, psycopg.Error):
                self._explain(statement, error)
            raise
        finally:
            self._own = False
        self.settle()
        entry = self.section.latest_of(statement)
        started = self.clock.now()
        try:
            self._transactions.commit()
        except psycopg.Error as error:
            self._noted_failure(error, entry.shown)
            raise
        finally:
            entry.duration_ms += (self.clock.now() - started) * 1000

    def _explain(self, statement: Statement, error: psycopg.Error) -> None:
        """Look for the rows at fault, with the database as it was before the statement."""
        with suppress(psycopg.Error), self._transactions.reading():
            violations = explain(error, statement, self._session)
            self._noted_failure(error, self.section.new_entry(statement).shown, violations)

    def _noted_failure(
        self, error: psycopg.Error, sql: str, violations: Violations | None = None
    ) -> None:
        """Note an error, or say more of it where it is noted already."""
        noted = self.failures.pop() if self.failures and self.failures[-1].error is error else None
        known = noted.violations if noted is not None else None
        self.failures.append(StatementFailure(sql, error, violations or known))

    @contextmanager
    def _from_outside(self, statement: Statement, cursor: Any) -> Iterator[None]:
        """Run what can't be in a transaction as it is, with its locks watched meanwhile."""
        predicted = self._predict(statement) if statement.node is not None else ()
        before = everything(self.catalog, self._session, flushed=self._transactions.flushes)
        invalid = set(invalid_indexes(self._session))
        self._watch.start()
        try:
            with self._plainly(statement, cursor):
                yield
        except psycopg.Error as error:
            self._explain(statement, error)
            raise
        finally:
            seen = self._watch.stop().with_predicted(predicted)
            if self._transactions.idle:
                self._note(statement, before, seen)
                self._note_invalid(statement, invalid)
        add_rows(self.section.latest_of(statement), cursor)

    def _note(self, statement: Statement, before: Probe, seen: Seen) -> None:
        after = everything(self.catalog, self._session, flushed=self._transactions.flushes)
        after = with_locks(after, before, seen.ever, self.catalog)
        entry = self.section.latest_of(statement)
        entry.effects.append(effects(self.catalog, before, after, statement))
        seen.tell(self.timeline, self.catalog.relations, entry.shown)
        if statement.hides_code:
            self.warnings.append(
                f"{statement.command} runs code that commits by itself. Its locks were looked at "
                "every 2 ms from another connection: a shorter one may be missing."
            )
        known = {**self._prober.last.relations, **after.relations}
        self._prober.last = self._committed = _calm(Probe(after.wal, known))
        self._transaction += 1

    def _note_invalid(self, statement: Statement, before: set[str]) -> None:
        for name in set(invalid_indexes(self._session)) - before:
            self.warnings.append(
                f"{statement.command} left the invalid index {name} behind, which costs every "
                "write and serves no query; drop it before the migration runs again."
            )

    def _guarded(self, statement: Statement) -> bool:
        return not self._own and self._prober.possible and statement.what in _LOOKED_INTO


def _calm(probe: Probe) -> Probe:
    """Return a reading as it is between two transactions: nothing locked, nothing counted."""
    return Probe(
        probe.wal,
        {
            oid: replace(seen, modes=frozenset(), counters=_UNCHANGED, index_reads={})
            if seen.modes or seen.counters != _UNCHANGED or seen.index_reads
            else seen
            for oid, seen in probe.relations.items()
        },
    )
