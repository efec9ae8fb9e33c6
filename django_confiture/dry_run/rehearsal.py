"""One dry run on one connection, from BEGIN to ROLLBACK, and the report of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from django.db import DatabaseError
from psycopg.pq import TransactionStatus

from django_confiture import conf, signals
from django_confiture.dry_run.guards import OtherConnections
from django_confiture.dry_run.lock_modes import LockMode
from django_confiture.dry_run.lock_table import Lookup, statement_locks
from django_confiture.dry_run.measure import Effects
from django_confiture.dry_run.recorder import Recorder, Section, StatementFailure
from django_confiture.dry_run.results import (
    Database,
    Failure,
    HookOutcome,
    MigrationResult,
    OperationResult,
    Report,
    SequenceMove,
    TableResult,
)
from django_confiture.dry_run.session import Session
from django_confiture.dry_run.statements import Statement
from django_confiture.dry_run.timeline import TableTime
from django_confiture.dry_run.transactions import RehearsedTransactions
from django_confiture.exceptions import DryRunRefused
from django_confiture.hooks.run import migration_version

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.migration import Migration
    from django.db.migrations.operations.base import Operation

    from django_confiture.hooks.base import HookContext

logger = logging.getLogger("django_confiture.dry_run")

Direction = Literal["forward", "backward"]
Key = tuple[str, str]

_TABLES = {"r", "p", "m", "f", "v"}

APPLICATION_NAME = "django-confiture dry run"


@dataclass
class OperationRecord:
    """An operation while it is being rehearsed."""

    index: int
    operation: Operation
    section: Section = field(default_factory=Section)
    hooks: list[HookOutcome] = field(default_factory=list)


@dataclass
class MigrationRecord:
    """A migration while it is being rehearsed."""

    migration: Migration
    direction: Direction
    section: Section = field(default_factory=Section)
    operations: list[OperationRecord] = field(default_factory=list)
    hooks: list[HookOutcome] = field(default_factory=list)
    current: OperationRecord | None = None
    failed_in: OperationRecord | None = None


class Rehearsal:
    """Opens the transaction, records what happens in it, and always rolls it back."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        *,
        lock_timeout: str | None = None,
        started: Callable[[MigrationRecord], None] | None = None,
        finished: Callable[[MigrationResult], None] | None = None,
    ) -> None:
        self._wrapper = wrapper
        self._lock_timeout = lock_timeout
        self._on_start = started
        self._on_finish = finished
        self._record: MigrationRecord | None = None
        self._results: list[MigrationResult] = []
        self._plan: list[tuple[Migration, bool]] = []
        self._written: set[int] = set()
        self._error: Failure | None = None
        self._started = perf_counter()

    @property
    def results(self) -> Sequence[MigrationResult]:
        """The migrations rehearsed so far."""
        return self._results

    @contextmanager
    def open(self) -> Iterator[None]:
        """Begin, take Django's connection over and record; at the end roll back, always."""
        self._started = perf_counter()
        self._wrapper.ensure_connection()
        before = Session(self._wrapper.connection)
        self._database = _database(before, self._wrapper)
        self._sequences = _sequences(before)
        self._transactions = RehearsedTransactions(self._wrapper, self, self._server_settings())
        self._transactions.begin()
        try:
            self.recorder = Recorder(self._wrapper, self._transactions, self._predict)
            self._wrapper._confiture_dry_run = True  # type: ignore[attr-defined]
            signals.hook_finished.connect(self._hook_finished)
            self._others = OtherConnections(self._wrapper, self, self._server_settings())
            with self.recorder.installed(), self._others.held():
                yield
        finally:
            signals.hook_finished.disconnect(self._hook_finished)
            self._wrapper.__dict__.pop("_confiture_dry_run", None)
            self._dead_bytes = self._measure_dead_bytes()
            self._transactions.end()
        self._moved = self._sequences_moved()

    def _server_settings(self) -> dict[str, str]:
        settings = {
            "application_name": APPLICATION_NAME,
            # A killed client is noticed in the middle of a long statement, too.
            "client_connection_check_interval": "2s",
        }
        given = conf.get("DRY_RUN")
        for name, value in (
            ("lock_timeout", self._lock_timeout or given["LOCK_TIMEOUT"]),
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

    def callbacks_dropped(self, count: int) -> None:
        """Count ``on_commit`` callbacks that were not called."""
        self.recorder.callbacks += count

    # Told by Django's executor.

    def planned(self, plan: Sequence[tuple[Migration, bool]]) -> None:
        """Note the plan, so that what did not run is in the report as well."""
        self._plan = list(plan)

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
        except Exception as error:
            self._finish(record, started, error)
            logger.exception("dry_run_failed", extra=_facts(record, error=str(error)))
            raise
        result = self._finish(record, started, None)
        logger.info(
            "dry_run_completed",
            extra=_facts(record, execution_time_ms=round(result.duration_ms), success=True),
        )

    def _begin(self, record: MigrationRecord) -> None:
        logger.info("dry_run_start", extra=_facts(record))
        if self._on_start is not None:
            self._on_start(record)
        self._transactions.assert_settings()
        self.recorder.timeline.start()
        self.recorder.failures = []
        self.recorder.callbacks = 0
        self.recorder.commit_ms = 0.0

    def _finish(
        self, record: MigrationRecord, started: float, error: Exception | None
    ) -> MigrationResult:
        self.recorder.timeline.release()
        self._record = None
        if self._transactions.session.status == TransactionStatus.INTRANS:
            self._transactions.session.query("CLOSE ALL")  # as COMMIT would
        result = self._result(record, (perf_counter() - started) * 1000, error)
        self._results.append(result)
        if self._on_finish is not None:
            self._on_finish(result)
        return result

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

    def failed(self, error: Exception) -> None:
        """Note an error outside any migration: a receiver of pre_migrate or post_migrate."""
        if not any(result.outcome == "failed" for result in self._results):
            self._error = _failure(error, None, ())

    def report(self) -> Report:
        """Return what was found; what the plan still held did not run."""
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
        failed = self._error or any(result.outcome == "failed" for result in self._results)
        return Report(
            database=self._database,
            outcome="failed" if failed else "passed",
            duration_ms=(perf_counter() - self._started) * 1000,
            migrations=(*self._results, *not_run),
            error=self._error,
            sequences_moved=self._moved,
            dead_bytes=self._dead_bytes,
            warnings=self._warnings(),
        )

    def _warnings(self) -> tuple[str, ...]:
        if not self._others.foreign_count:
            return ()
        warning = (
            f"{self._others.foreign_count} connection(s) were opened past Django's; they could "
            "not write, and what they did is not in this report."
        )
        return (warning,)

    def _result(
        self, record: MigrationRecord, duration_ms: float, error: Exception | None
    ) -> MigrationResult:
        migration = record.migration
        operations = tuple(map(self._operation_result, record.operations))
        return MigrationResult(
            migration.app_label,
            migration.name,
            migration_version(migration.name),
            record.direction,
            "failed" if error is not None else "passed",
            duration_ms=duration_ms,
            error=_failure(error, record, self.recorder.failures) if error is not None else None,
            operations=operations,
            commit_ms=self.recorder.commit_ms,
            hooks=tuple(record.hooks),
            tables=self._tables(record),
            warnings=self._migration_warnings(record),
        )

    def _operation_result(self, record: OperationRecord) -> OperationResult:
        section = record.section
        rehearsed: Literal["exact", "substituted", "not_rehearsed"] = "exact"
        if section.not_rehearsed:
            rehearsed = "not_rehearsed"
        elif section.substituted:
            rehearsed = "substituted"
        reasons = dict.fromkeys([*section.not_rehearsed, *section.substituted])
        return OperationResult(
            record.index,
            type(record.operation).__name__,
            record.operation.describe(),
            rehearsed,
            " ".join(reasons),
            section.duration_ms,
            self.recorder.results(section),
            tuple(record.hooks),
        )

    def _tables(self, record: MigrationRecord) -> tuple[TableResult, ...]:
        sections = [record.section, *(operation.section for operation in record.operations)]
        everything = [e for s in sections for entry in s.entries for e in entry.effects]
        catalog = self.recorder.catalog
        timeline = self.recorder.timeline.tables
        wrote = {oid for e in everything for oid, _counters in e.writes}
        read = {oid for e in everything for oid, _rows, _passes in e.scans}
        self._written |= wrote
        return tuple(
            sorted(
                (
                    _table(catalog.relations[oid].shown, oid, timeline.get(oid), everything)
                    for oid in timeline.keys() | wrote | read
                    if catalog.relations[oid].kind in _TABLES
                ),
                key=lambda table: (-table.writes_blocked_ms, table.relation),
            )
        )

    def _migration_warnings(self, record: MigrationRecord) -> tuple[str, ...]:
        warnings = []
        if self.recorder.callbacks:
            warnings.append(
                f"{self.recorder.callbacks} on_commit callback(s) were not called; "
                "a real migration calls them."
            )
        if record.section.substituted:
            warnings.extend(dict.fromkeys(record.section.substituted))
        return tuple(warnings)

    # What a rollback does not undo.

    def _measure_dead_bytes(self) -> int:
        """Return the growth of what was written: pages stay, full of rows that never were."""
        session = self._transactions.session
        if session.status != TransactionStatus.INTRANS or not self._written:
            return 0
        relations = self.recorder.catalog.relations
        oids = [
            oid for oid, r in relations.items() if oid in self._written or r.table in self._written
        ]
        rows = session.query(
            "SELECT oid, relfilenode, pg_catalog.pg_relation_size(oid) FROM pg_catalog.pg_class"
            " WHERE oid = ANY ($1::oid[])",
            ["{" + ",".join(map(str, oids)) + "}"],
        )
        return sum(
            max(0, int(size or 0) - relations[int(oid or 0)].size)
            for oid, filenode, size in rows
            if int(filenode or 0) == relations[int(oid or 0)].filenode
        )

    def _sequences_moved(self) -> tuple[SequenceMove, ...]:
        if self._wrapper.connection is None:
            return ()
        after = _sequences(Session(self._wrapper.connection))
        return tuple(
            SequenceMove(self._database.name, name, before, after[name])
            for name, before in self._sequences.items()
            if name in after and after[name] != before
        )


def _table(
    name: str, oid: int, times: TableTime | None, everything: Sequence[Effects]
) -> TableResult:
    scans = [rows for e in everything for o, rows, _passes in e.scans if o == oid]
    written = sum(
        wrote.inserted + wrote.updated + wrote.deleted
        for e in everything
        for o, wrote in e.writes
        if o == oid
    )
    # What was read or written was locked for it, though an earlier migration may hold that lock.
    least = LockMode.RowExclusiveLock if written else LockMode.AccessShareLock
    times = times or TableTime()
    return TableResult(
        name,
        max(times.modes | {least}).name,
        times.reads_blocked_ms,
        times.writes_blocked_ms,
        times.blocked_by,
        rewritten=any(oid in e.rewrites for e in everything),
        rows_scanned=None if None in scans else sum(rows or 0 for rows in scans),
        rows_written=written,
    )


def _facts(record: MigrationRecord, **facts: object) -> dict[str, object]:
    migration = record.migration
    return {
        "migration": migration.name,
        "app_label": migration.app_label,
        "version": migration_version(migration.name),
        **facts,
    }


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


def _sequences(session: Session) -> dict[str, int | None]:
    rows = session.query(
        "SELECT schemaname || '.' || sequencename, last_value FROM pg_catalog.pg_sequences"
    )
    return {
        (name or "").removeprefix("public."): int(value) if value is not None else None
        for name, value in rows
    }


def _failure(
    error: Exception, record: MigrationRecord | None, statements: Sequence[StatementFailure]
) -> Failure:
    """Say why in PostgreSQL's words: the first error, not what came of it."""
    cause: BaseException = error
    if isinstance(error, DatabaseError) and error.__cause__ is not None:
        cause = error.__cause__
    refused = [each for each in statements if each.error is cause]
    if isinstance(cause, psycopg.errors.InFailedSqlTransaction):
        refused = [each for each in statements if type(each.error) is not type(cause)][-1:]
        cause = refused[0].error if refused else cause
    operation = record.failed_in.operation.describe() if record and record.failed_in else None
    at_commit = operation is None and record is not None and isinstance(error, DatabaseError)
    return Failure(
        type(cause).__name__,
        str(cause).strip(),
        operation,
        refused[0].sql if refused else "COMMIT" if at_commit else None,
    )
