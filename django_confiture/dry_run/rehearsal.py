"""One dry run on one connection, from BEGIN to ROLLBACK, and the report of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from time import perf_counter
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.utils import DatabaseError
from psycopg.pq import TransactionStatus

from django_confiture import conf, signals, silencing
from django_confiture.dry_run.estimates import (
    Forecaster,
    PastErrors,
    Sampler,
    Sizes,
    whole_ms,
)
from django_confiture.dry_run.findings.plan_history import History
from django_confiture.dry_run.interception.cursors import Capture
from django_confiture.dry_run.interception.interceptor import Interceptor
from django_confiture.dry_run.interception.protocols import SendPolicy
from django_confiture.dry_run.interception.substitution import Substitutes
from django_confiture.dry_run.isolation.other_aliases import OtherConnections
from django_confiture.dry_run.isolation.watchdog import Watchdog
from django_confiture.dry_run.locks.rules import Lookup, statement_locks
from django_confiture.dry_run.locks.user_code import SelectClassifier
from django_confiture.dry_run.measuring.dead_space import RowWidths
from django_confiture.dry_run.measuring.nontransactional import (
    dead_bytes,
    sequence_positions,
    sequences_moved,
)
from django_confiture.dry_run.measuring.schema_diff import SchemaWatch
from django_confiture.dry_run.plan.planned import Planned
from django_confiture.dry_run.plan.preflight import look_ahead
from django_confiture.dry_run.plan.refusals import max_dead_bytes, refuse_unusable
from django_confiture.dry_run.recording.recorder import Recorder
from django_confiture.dry_run.recording.records import (
    MigrationRecord,
    OperationRecord,
    migration_result,
)
from django_confiture.dry_run.report_builder import Outcome, no_lock
from django_confiture.dry_run.results import (
    MigrationResult,
    ProductionDatabase,
    SequenceMove,
)
from django_confiture.dry_run.results.error_classes import is_no_fault
from django_confiture.dry_run.results.observer import Observer
from django_confiture.dry_run.server.driver import check_names
from django_confiture.dry_run.server.settings import database, server_settings
from django_confiture.dry_run.sql import redaction
from django_confiture.dry_run.sql.parser import Statement
from django_confiture.dry_run.sql.timeouts import is_our_timeout
from django_confiture.dry_run.transactions.at_commit.enum_values import (
    NO_COMMIT,
    is_committed_by_then,
)
from django_confiture.dry_run.transactions.real import CommittedTransactions
from django_confiture.dry_run.transactions.rehearsed import RehearsedTransactions
from django_confiture.hooks.base import Direction, HookContext
from django_confiture.production import ProductionStats

logger = logging.getLogger("django_confiture.dry_run")


class Rehearsal(Outcome):
    """Opens the transaction, records what happens in it, and always rolls it back."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        *,
        watched: bool = True,
        allow_dead_space: bool = False,
        show_values: bool = False,
        stats: ProductionStats | None = None,
        samples: bool = False,
        past_errors: Mapping[str, PastErrors] | None = None,
        observer: Observer | None = None,
    ) -> None:
        super().__init__()
        self._wrapper = wrapper
        self._watched = watched
        self._stats = stats
        self._samples = samples
        self._past_errors = past_errors
        if stats is not None:
            self.production = ProductionDatabase(
                stats.database, stats.server_version, stats.collected_at.isoformat()
            )
        self._max_dead_bytes = None if allow_dead_space else max_dead_bytes()
        self._show_values = show_values
        self._observer = observer or Observer()
        self._interceptor = Interceptor()
        self._record: MigrationRecord | None = None
        self._written: set[int] = set()
        self._instances: list[tuple[Migration, dict[str, Any]]] = []
        self.schema: SchemaWatch | None = None
        self._transactions: RehearsedTransactions | CommittedTransactions

    @contextmanager
    def open(self) -> Iterator[None]:
        """Begin, take Django's connection over and record; at the end roll back, always."""
        self._started = perf_counter()
        check_names()
        self._wrapper.ensure_connection()
        transactions = RehearsedTransactions(self._wrapper, server_settings())
        self._transactions = transactions
        transactions.check_usable()
        with self._wrapper.cursor():
            pass  # some backends set the search path with the first one
        before = self._transactions.session
        refuse_unusable(self._wrapper, before)
        self._database = database(before, self._wrapper)
        self._sequences = sequence_positions(before)
        lock_timeout = before.value("SHOW lock_timeout")
        with ExitStack() as stack:
            yield_after = conf.parse_duration(
                conf.get("DRY_RUN")["YIELD_AFTER"], name='CONFITURE["DRY_RUN"]["YIELD_AFTER"]'
            )
            if self._watched and yield_after is not None:
                self._watchdog = Watchdog(
                    self._wrapper,
                    yield_after=yield_after,
                    own_pids=self._own_pids,
                    observer=self._observer,
                )
                self._watchdog.start()
                stack.callback(self._watchdog.stop)
            transactions.begin()
            stack.callback(self._rolled_back, transactions)
            self.recorder = Recorder(
                self._wrapper, transactions, self._predict, self._check_watchdog
            )
            self.recorder.dead_space.limit = self._max_dead_bytes
            self._prepare(lock_timeout)
            sending = Substitutes(self.recorder, transactions)
            others = OtherConnections(
                self._wrapper, self.recorder, self._interceptor, server_settings()
            )
            with self._capturing(sending, others):
                yield

    def _prepare(self, lock_timeout: str) -> None:
        """Get ready to judge what will be measured."""
        self._history = History(self._transactions.session, self.recorder.catalog)
        sizes = Sizes(self._transactions.session, self.recorder.catalog, self._stats)
        self.forecaster = Forecaster(self._transactions.session, sizes, self._past_errors)
        if self._samples:
            sampler = Sampler(self._transactions.session, self.recorder.catalog)
            self.recorder.sample = sampler.sample
        if lock_timeout != "0":
            self._history.has_lock_timeout()

    def _own_pids(self) -> Collection[int]:
        return self._others.pids() if self._others is not None else ()

    def _check_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.check()

    def _rolled_back(self, transactions: RehearsedTransactions) -> None:
        try:
            transactions.end()
        finally:
            if self.schema is not None:
                self.schema.close()
            self._moved = self._sequences_moved()

    def _sequences_moved(self) -> tuple[SequenceMove, ...]:
        if self._wrapper.connection is None:
            return ()
        after = sequence_positions(self._transactions.session)
        return sequences_moved(self._database.name, self._sequences, after)

    @contextmanager
    def _capturing(self, sending: SendPolicy, others: OtherConnections) -> Iterator[None]:
        """Record this connection, hold the others, and tell the hooks that it is a dry run."""
        sample = self._sample if self._samples else None
        session = self._transactions.session
        classify = SelectClassifier(session).classified
        capture = Capture(session.raw, self.recorder, sending, sample, classify)
        intercepting = self._interceptor.catching(session.raw, capture)
        self._others = others
        self._wrapper._confiture_dry_run = True  # type: ignore[attr-defined]
        signals.hook_finished.connect(self._hook_finished)
        try:
            with redaction.shown(show=self._show_values), intercepting, others.held():
                yield
        finally:
            signals.hook_finished.disconnect(self._hook_finished)
            self._wrapper.__dict__.pop("_confiture_dry_run", None)
            for instance, before in self._instances:
                instance.__dict__ = before
            self._dead_bytes = dead_bytes(
                self._transactions.session, self.recorder.catalog, self._written
            )

    def _sample(self, statement: Statement, text: str) -> None:
        sampled = self.recorder.try_samples(statement, text)
        self._observer.sampled(whole_ms(sampled) if sampled is not None else None)

    def _predict(self, statement: Statement) -> Sequence[tuple[int, str]]:
        lookup = Lookup(self._transactions.session.query)
        return [(lock.oid, lock.mode.name) for lock in statement_locks(statement.node, lookup)]

    # Told by Django's executor.

    def planned(self, plan: Sequence[tuple[Migration, bool]]) -> None:
        """Note the plan, so that what did not run is in the report as well."""
        silencing.check_plan(plan)
        self._plan = list(plan)
        self._observer.planned(plan)

    def look_ahead(self, read: Callable[[], Planned]) -> None:
        """See what the plan will touch, refuse what can't be rehearsed here, and tell."""
        if self.preflight is not None:
            return  # the plan is being undone
        found = self.preflight = look_ahead(
            read(),
            self._transactions.session,
            RowWidths(self.recorder.catalog),
            own_pids=[*self._own_pids(), *([self._watchdog.pid] if self._watchdog else [])],
            max_dead_bytes=self._max_dead_bytes,
            yield_after_ms=self._watchdog.after_ms if self._watchdog is not None else None,
        )
        self._observer.preflighted(found)

    def restore_at_end(self, migration: Migration) -> None:
        """Note an instance that is about to be changed: it may be the caller's."""
        before = {**vars(migration), "operations": list(migration.operations)}
        self._instances.append((migration, before))

    @contextmanager
    def migration(self, migration: Migration, direction: Direction) -> Iterator[None]:
        """Rehearse one migration: everything until the context is left belongs to it."""
        record = self._record = MigrationRecord(migration, direction)
        started = self.recorder.clock.now()
        try:
            self._begin(record)
            started = self.recorder.clock.now()
            with self.recorder.inside(record.section):
                yield
            self._check()
        except BaseException as error:
            self._finish(record, started, error)
            logger.exception("dry_run_failed", extra=record.facts(error=str(error)))
            raise
        result = self._finish(record, started, None)
        logger.info(
            "dry_run_completed",
            extra=record.facts(execution_time_ms=round(result.duration_ms), success=True),
        )

    def _check(self) -> None:
        self._transactions.check_intact()
        self._transactions.check_commit_guard()
        self.recorder.dead_space.check()

    def _begin(self, record: MigrationRecord) -> None:
        logger.info("dry_run_start", extra=record.facts())
        self._observer.migration_started(
            str(record.migration),
            backwards=record.direction == "backward",
            number=len(self._results) + 1,
            total=len(self._plan),
        )
        self.recorder.failures = []
        self.recorder.callbacks = 0
        self.recorder.commit_ms = 0.0
        self.recorder.warnings = []
        self._transactions.assert_settings()
        if self.schema is None:
            self.schema = SchemaWatch(self._transactions.session)
        self.recorder.timeline.start()

    def _finish(
        self, record: MigrationRecord, started: float, error: BaseException | None
    ) -> MigrationResult:
        self.recorder.timeline.release()
        self._record = None
        duration_ms = (self.recorder.clock.now() - started) * 1000
        if self._transactions.session.status == TransactionStatus.INTRANS:
            with suppress(psycopg.Error):  # whose connection nobody has found lost until here
                self._transactions.close_cursors()
        result = migration_result(record, self.recorder, duration_ms, error)
        steps = self._history.steps(record, self.recorder)
        result = replace(result, findings=self._history.findings(record, steps, result))
        if error is not None and self._was_stopped(error, record):
            result = replace(result, outcome="not_run")
        result = self.forecaster.estimated(result, steps)
        if self.schema is not None:
            result = self.schema.noted(result)
        self._results.append(result)
        self._written |= {oid for e in record.effects for oid, _counters in e.writes}
        self._observer.migration_finished(result)
        return result

    def _was_stopped(self, error: BaseException, record: MigrationRecord) -> bool:
        """Say whether an error says nothing about the migration: it never came to its end."""
        cause = error.__cause__ if isinstance(error, DatabaseError) and error.__cause__ else error
        if is_no_fault(type(cause)) or is_our_timeout(cause, record.statements):
            return True
        lost = self._transactions.session.status == TransactionStatus.UNKNOWN
        waited = self.mode == "transaction" and no_lock(error)
        limited = bool(self.recorder.dead_space.stopped)
        if self.mode == "transaction" and is_committed_by_then(
            cause, record.last_transaction, self._transactions.session.raw.info.server_version
        ):
            self.notes.append(NO_COMMIT)
            return True
        return self.yielded or lost or waited or limited or not isinstance(error, Exception)

    @contextmanager
    def operation(self, index: int, operation: Operation) -> Iterator[OperationRecord]:
        """Rehearse one operation of the current migration."""
        assert self._record is not None
        record = OperationRecord(index, operation)
        self._record.operations.append(record)
        self._observer.operation_started(index, operation.describe())
        with self._record.within(record, self.recorder):
            yield record
            self.recorder.dead_space.check()

    @contextmanager
    def deferred(self, origin: OperationRecord | None) -> Iterator[None]:
        """Record deferred SQL where it comes from."""
        if origin is None:
            yield
            return
        assert self._record is not None
        with self._record.within(origin, self.recorder):
            yield

    def _hook_finished(self, *, context: HookContext, **facts: Any) -> None:
        if context.connection is self._wrapper and self._record is not None:
            self._record.hook_finished(self.recorder, context, **facts)
