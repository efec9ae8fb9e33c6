"""One dry run on one connection, from BEGIN to ROLLBACK, and the report of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from psycopg.errors import LockNotAvailable
from psycopg.pq import TransactionStatus

from django_confiture import conf, signals, silencing
from django_confiture.dry_run.capture import Capture
from django_confiture.dry_run.guards import OtherConnections
from django_confiture.dry_run.leftovers import dead_bytes, sequence_positions, sequences_moved
from django_confiture.dry_run.lock_table import Lookup, statement_locks
from django_confiture.dry_run.recorder import Recorder
from django_confiture.dry_run.records import (
    MigrationRecord,
    OperationRecord,
    failure,
    migration_result,
)
from django_confiture.dry_run.results import (
    Database,
    Failure,
    HookOutcome,
    MigrationResult,
    Report,
    ReverseResult,
    RunOutcome,
    SequenceMove,
)
from django_confiture.dry_run.schema import SchemaWatch
from django_confiture.dry_run.session import Session
from django_confiture.dry_run.statements import Statement
from django_confiture.dry_run.transactions import RehearsedTransactions
from django_confiture.dry_run.watchdog import Watchdog
from django_confiture.exceptions import DryRunRefused
from django_confiture.hooks.base import Direction, HookContext
from django_confiture.hooks.run import migration_version

logger = logging.getLogger("django_confiture.dry_run")


APPLICATION_NAME = "django-confiture dry run"


class Rehearsal:
    """Opens the transaction, records what happens in it, and always rolls it back."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        *,
        watched: bool = True,
        started: Callable[[MigrationRecord], None] | None = None,
        finished: Callable[[MigrationResult], None] | None = None,
    ) -> None:
        self._wrapper = wrapper
        self._watched = watched
        self._watchdog: Watchdog | None = None
        self._on_start = started
        self._on_finish = finished
        self._record: MigrationRecord | None = None
        self._results: list[MigrationResult] = []
        self._plan: list[tuple[Migration, bool]] = []
        self._written: set[int] = set()
        self._instances: list[tuple[Migration, dict[str, Any]]] = []
        self._error: Failure | None = None
        self._others: OtherConnections | None = None
        self.schema: SchemaWatch | None = None
        self.reverse: ReverseResult | None = None
        self._moved: tuple[SequenceMove, ...] = ()
        self._dead_bytes = 0
        self._started = perf_counter()

    @property
    def results(self) -> Sequence[MigrationResult]:
        """The migrations rehearsed so far."""
        return self._results

    @property
    def plan(self) -> Sequence[tuple[Migration, bool]]:
        """The migrations to rehearse, with whether backwards."""
        return self._plan

    @contextmanager
    def open(self) -> Iterator[None]:
        """Begin, take Django's connection over and record; at the end roll back, always."""
        self._started = perf_counter()
        self._wrapper.ensure_connection()
        self._transactions = RehearsedTransactions(self._wrapper, self, self._server_settings())
        self._transactions.check_usable()
        before = self._transactions.session
        self._database = _database(before, self._wrapper)
        self._sequences = sequence_positions(before)
        lock_timeout = before.value("SHOW lock_timeout")
        with ExitStack() as stack:
            yield_after = conf.parse_duration(
                conf.get("DRY_RUN")["YIELD_AFTER"], name='CONFITURE["DRY_RUN"]["YIELD_AFTER"]'
            )
            if self._watched and yield_after is not None:
                self._watchdog = Watchdog(
                    self._wrapper, yield_after=yield_after, own_pids=self._own_pids
                )
                self._watchdog.start()
                stack.callback(self._watchdog.stop)
            self._transactions.begin()
            stack.callback(self._rolled_back)
            self.recorder = Recorder(
                self._wrapper, self._transactions, self._predict, self._check_watchdog
            )
            if lock_timeout != "0":
                self.recorder.history.has_lock_timeout()
            with self._capturing():
                yield

    def _own_pids(self) -> Collection[int]:
        return self._others.pids() if self._others is not None else ()

    def _check_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.check()

    def _rolled_back(self) -> None:
        try:
            self._transactions.end()
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
    def _capturing(self) -> Iterator[None]:
        """Record this connection, hold the others, and tell the hooks that it is a dry run."""
        capture = Capture(self._wrapper.connection, self.recorder, self._transactions)
        self._others = others = OtherConnections(self._wrapper, self, self._server_settings())
        self._wrapper._confiture_dry_run = True  # type: ignore[attr-defined]
        signals.hook_finished.connect(self._hook_finished)
        try:
            with capture.installed(), others.held():
                yield
        finally:
            signals.hook_finished.disconnect(self._hook_finished)
            self._wrapper.__dict__.pop("_confiture_dry_run", None)
            for instance, before in self._instances:
                instance.__dict__ = before
            self._dead_bytes = dead_bytes(
                self._transactions.session, self.recorder.catalog, self._written
            )

    def _server_settings(self) -> dict[str, str]:
        settings = {
            "application_name": APPLICATION_NAME,
            # A killed client is noticed in the middle of a long statement, too.
            "client_connection_check_interval": "2s",
        }
        given = conf.get("DRY_RUN")
        for name, value in (
            ("lock_timeout", given["LOCK_TIMEOUT"]),
            ("statement_timeout", given["STATEMENT_TIMEOUT"]),
        ):
            timeout = conf.parse_duration(value, name=f'CONFITURE["DRY_RUN"]["{name.upper()}"]')
            if timeout is not None:
                settings[name] = f"{max(1, round(timeout.total_seconds() * 1000))}ms"
        return settings

    def _predict(self, statement: Statement) -> Sequence[tuple[int, str]]:
        lookup = Lookup(self._transactions.session.query)
        return [(lock.oid, lock.mode.name) for lock in statement_locks(statement.node, lookup)]

    # Told by the rehearsed transactions.

    def transaction_ended(self, checked_ms: float = 0.0) -> None:
        """Free the locks that the real run would free now."""
        self.recorder.transaction_ended(checked_ms)

    def commit_failed(self, error: psycopg.Error) -> None:
        """Look for the rows at fault."""
        self.recorder.commit_failed(error)

    def callbacks_dropped(self, count: int) -> None:
        """Count ``on_commit`` callbacks that were not called."""
        self.recorder.callbacks += count

    # Told by Django's executor.

    def planned(self, plan: Sequence[tuple[Migration, bool]]) -> None:
        """Note the plan, so that what did not run is in the report as well."""
        silencing.check_plan(plan)
        self._plan = list(plan)

    def restore_at_end(self, migration: Migration) -> None:
        """Note an instance that is about to be changed: it may be the caller's."""
        before = {**vars(migration), "operations": list(migration.operations)}
        self._instances.append((migration, before))

    @contextmanager
    def migration(self, migration: Migration, direction: Direction) -> Iterator[None]:
        """Rehearse one migration: everything until the context is left belongs to it."""
        record = self._record = MigrationRecord(migration, direction)
        self._begin(record)
        started = perf_counter()
        try:
            with self.recorder.inside(record.section):
                yield
            self._transactions.check_intact()
            self._transactions.check_poisoned()
        except BaseException as error:
            self._finish(record, started, error)
            logger.exception("dry_run_failed", extra=record.facts(error=str(error)))
            raise
        result = self._finish(record, started, None)
        logger.info(
            "dry_run_completed",
            extra=record.facts(execution_time_ms=round(result.duration_ms), success=True),
        )

    def _begin(self, record: MigrationRecord) -> None:
        logger.info("dry_run_start", extra=record.facts())
        if self._on_start is not None:
            self._on_start(record)
        self._transactions.assert_settings()
        if self.schema is None:
            self.schema = SchemaWatch(self._transactions.session)
        self.recorder.timeline.start()
        self.recorder.failures = []
        self.recorder.callbacks = 0
        self.recorder.commit_ms = 0.0
        self.recorder.warnings = []

    def _finish(
        self, record: MigrationRecord, started: float, error: BaseException | None
    ) -> MigrationResult:
        self.recorder.timeline.release()
        self._record = None
        duration_ms = (perf_counter() - started) * 1000
        if self._transactions.session.status == TransactionStatus.INTRANS:
            self._transactions.session.query("CLOSE ALL")  # as COMMIT would
        result = migration_result(record, self.recorder, duration_ms, error)
        if error is not None and self._was_stopped(error):
            result = replace(result, outcome="not_run")
        if self.schema is not None:
            result = self.schema.noted(result)
        self._results.append(result)
        self._written |= {oid for e in record.effects for oid, _counters in e.writes}
        if self._on_finish is not None:
            self._on_finish(result)
        return result

    def _was_stopped(self, error: BaseException) -> bool:
        """Say whether an error says nothing about the migration: it never came to its end."""
        lost = self._transactions.session.status == TransactionStatus.UNKNOWN
        return self.yielded or lost or not isinstance(error, Exception) or _no_lock(error)

    @contextmanager
    def operation(self, index: int, operation: Operation) -> Iterator[OperationRecord]:
        """Rehearse one operation of the current migration."""
        assert self._record is not None
        record = OperationRecord(index, operation)
        self._record.operations.append(record)
        self._record.current = record
        try:
            with self.recorder.inside(record.section):
                yield record
        except BaseException:
            self._record.failed_in = record
            raise
        self._record.current = None

    @contextmanager
    def deferred(self, origin: OperationRecord | None) -> Iterator[None]:
        """Record deferred SQL where it comes from."""
        if origin is None:
            yield
            return
        assert self._record is not None
        outer, self._record.current = self._record.current, origin
        try:
            with self.recorder.inside(origin.section):
                yield
        except BaseException:
            self._record.failed_in = origin
            raise
        self._record.current = outer

    def _hook_finished(
        self,
        *,
        hook: str,
        phase: str,
        outcome: str,
        duration_ms: float,
        result: Any,
        reason: str,
        error: Exception | None,
        context: HookContext,
        **_kwargs: object,
    ) -> None:
        if context.connection is not self._wrapper or self._record is None:
            return
        owner = self._record.current or self._record
        owner.hooks.append(
            HookOutcome(
                hook,
                phase,
                duration_ms,
                result.rows_affected if result is not None else 0,
                outcome,
                reason or (str(error) if error is not None else ""),
            )
        )

    # The report.

    def failed(self, error: BaseException) -> None:
        """Note an error outside any migration: a receiver of pre_migrate or post_migrate."""
        if all(result.error is None for result in self._results):
            self._error = failure(error, None, ())

    @property
    def yielded(self) -> bool:
        """Say whether the dry run ended for the sake of other sessions."""
        if self._watchdog is not None and self._watchdog.waiters:
            return True
        errors = (result.error for result in self._results)
        return any(error.type == LockNotAvailable.__name__ for error in errors if error is not None)

    @contextmanager
    def reversing(self) -> Iterator[None]:
        """Collect results apart from those of the plan."""
        forward = self._results, self._plan
        self._results, self._plan = [], []
        try:
            yield
        finally:
            self._results, self._plan = forward

    def migrations(self) -> tuple[MigrationResult, ...]:
        """Return the results; what the plan still held did not run."""
        done = {(result.app_label, result.name) for result in self._results}
        not_run = tuple(
            MigrationResult(
                migration.app_label,
                migration.name,
                migration_version(migration.name),
                "backward" if backwards else "forward",
                "not_run",
            )
            for migration, backwards in self._plan
            if (migration.app_label, migration.name) not in done
        )
        return (*self.recorder.history.settled(self._results), *not_run)

    def report(self) -> Report:
        """Return what was found."""
        return Report(
            database=self._database,
            outcome=self._outcome,
            duration_ms=(perf_counter() - self._started) * 1000,
            migrations=self.migrations(),
            error=self._error,
            reverse=self.reverse,
            sequences_moved=self._moved,
            dead_bytes=self._dead_bytes,
            yielded_to=self._watchdog.waiters if self._watchdog is not None else (),
            warnings=self._warnings(),
        )

    @property
    def _outcome(self) -> RunOutcome:
        if self.yielded:
            return "yielded"
        failed = self._error or any(result.error is not None for result in self._results)
        return "failed" if failed else "passed"

    def _warnings(self) -> tuple[str, ...]:
        warnings = []
        if self._others is not None and self._others.foreign_count:
            warnings.append(
                f"{self._others.foreign_count} connection(s) were opened past Django's; they "
                "could not write, and what they did is not in this report."
            )
        if self._watchdog is not None and self.yielded and not self._watchdog.waiters:
            warnings.extend(
                f"Waited in vain for a lock of session {blocker.pid} "
                f"({blocker.application or 'no name'}, {blocker.state})."
                for blocker in self._watchdog.blockers
            )
        return tuple(warnings)


def _no_lock(error: BaseException) -> bool:
    return isinstance(error, LockNotAvailable) or isinstance(error.__cause__, LockNotAvailable)


def _database(session: Session, wrapper: BaseDatabaseWrapper) -> Database:
    if session.value("SELECT pg_catalog.pg_is_in_recovery()") == "t":
        raise DryRunRefused(
            f"The database {wrapper.alias!r} is a replica, which takes no writes; "
            "run against its primary or a copy."
        )
    name, version, size = session.query(
        "SELECT current_database(), current_setting('server_version'),"
        " pg_catalog.pg_database_size(current_database())"
    )[0]
    return Database(wrapper.alias, name or "", version or "", int(size or 0))
