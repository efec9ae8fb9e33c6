"""A migration while it is being rehearsed, and how it becomes a result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import psycopg
from django.db import DatabaseError
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.measuring.effects import Effects
from django_confiture.dry_run.measuring.lock_timeline import TableTime
from django_confiture.dry_run.plan.refusals import OUT_OF_LOCKS, is_out_of_locks
from django_confiture.dry_run.recording.recorder import Recorder
from django_confiture.dry_run.recording.statement_log import Entry, Section, StatementFailure
from django_confiture.dry_run.results import (
    Failure,
    HookOutcome,
    MigrationResult,
    OperationResult,
    TableResult,
)
from django_confiture.dry_run.results.error_classes import is_no_fault
from django_confiture.dry_run.results.source_location import Source, locate
from django_confiture.dry_run.sql.parser import Statement
from django_confiture.dry_run.sql.redaction import message, origin_of
from django_confiture.dry_run.sql.timeouts import OUR_TIMEOUT, is_our_timeout
from django_confiture.hooks.base import Direction, HookContext, HookResult
from django_confiture.hooks.context import migration_version

_TABLES = {"r", "p", "m", "f", "v"}


@dataclass
class OperationRecord:
    """An operation while it is being rehearsed."""

    index: int
    operation: Operation
    section: Section = field(default_factory=Section)
    hooks: list[HookOutcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Let the section know who has written what is recorded in it."""
        self.section.origin = origin_of(self.operation)


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
    hook_callbacks: int = 0
    """How many its hooks wanted to have called on commit."""

    @property
    def effects(self) -> list[Effects]:
        """Everything that its statements did, in its operations and around them."""
        return [e for entry in self._entries for e in entry.effects]

    @property
    def statements(self) -> list[Statement]:
        """Its statements, in its operations and around them."""
        return [entry.statement for entry in self._entries]

    @property
    def last_transaction(self) -> list[Statement]:
        """The statements that the real run would have had in its last transaction."""
        last = max((run for entry in self._entries for run in entry.runs), default=None)
        return [entry.statement for entry in self._entries if last in entry.runs]

    @property
    def _entries(self) -> list[Entry]:
        sections = [self.section, *(operation.section for operation in self.operations)]
        return [entry for section in sections for entry in section.entries]

    def hook_finished(
        self,
        recorder: Recorder,
        context: HookContext,
        *,
        hook: str,
        phase: str,
        outcome: str,
        duration_ms: float,
        result: HookResult | None,
        reason: str,
        error: Exception | None,
        **_others: object,
    ) -> None:
        """Note a hook, by what the signal says of it."""
        self.hook_callbacks = len(context.recorded_on_commit)
        ended_ms = (recorder.clock.now() - recorder.timeline.began) * 1000
        (self.current or self).hooks.append(
            HookOutcome(
                hook,
                phase,
                duration_ms,
                result.rows_affected if result is not None else 0,
                outcome,
                reason or (message(error) if error is not None else ""),
                max(0.0, ended_ms - duration_ms),
            )
        )

    @contextmanager
    def within(self, operation: OperationRecord, recorder: Recorder) -> Iterator[None]:
        """Record what runs inside as part of an operation."""
        outer, self.current = self.current, operation
        try:
            with recorder.inside(operation.section):
                yield
        except BaseException:
            self.failed_in = operation
            raise
        self.current = outer

    def facts(self, **facts: object) -> dict[str, object]:
        """Return the ``extra`` fields of a log event about it."""
        return {
            "migration": self.migration.name,
            "app_label": self.migration.app_label,
            "version": migration_version(self.migration.name),
            **facts,
        }


def migration_result(
    record: MigrationRecord, recorder: Recorder, duration_ms: float, error: BaseException | None
) -> MigrationResult:
    """Return what the reports need of one migration; ``error`` is what it failed with."""
    migration = record.migration
    source = locate(migration)
    operations = tuple(_operation(each, recorder, source) for each in record.operations)
    return MigrationResult(
        migration.app_label,
        migration.name,
        migration_version(migration.name),
        record.direction,
        "failed" if error is not None else "passed",
        duration_ms=duration_ms,
        error=failure(error, record, recorder.failures) if error is not None else None,
        operations=operations,
        statements=recorder.results(record.section),
        commit_ms=recorder.commit_ms,
        hooks=tuple(record.hooks),
        tables=_tables(record, recorder),
        warnings=_warnings(record, recorder),
        file=source.file,
        line=source.line,
    )


def _operation(record: OperationRecord, recorder: Recorder, source: Source) -> OperationResult:
    section = record.section
    rehearsed: Literal["exact", "substituted", "not_rehearsed"] = "exact"
    if section.not_rehearsed:
        rehearsed = "not_rehearsed"
    elif section.substituted:
        rehearsed = "substituted"
    reasons = dict.fromkeys([*section.not_rehearsed, *section.substituted])
    line, end_line = source.of(record.operation)
    return OperationResult(
        record.index,
        type(record.operation).__name__,
        record.operation.describe(),
        rehearsed,
        " ".join(reasons),
        section.duration_ms,
        recorder.results(section),
        tuple(record.hooks),
        max(0.0, ((section.started or 0.0) - recorder.timeline.began) * 1000),
        line,
        end_line,
    )


def _tables(record: MigrationRecord, recorder: Recorder) -> tuple[TableResult, ...]:
    everything = record.effects
    catalog = recorder.catalog
    timeline = recorder.timeline.tables
    wrote = {oid for e in everything for oid, _counters in e.writes}
    read = {oid for e in everything for oid, _rows, _passes in e.scans}
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


def _warnings(record: MigrationRecord, recorder: Recorder) -> tuple[str, ...]:
    warnings = list(dict.fromkeys(recorder.warnings))
    if callbacks := recorder.callbacks + record.hook_callbacks:
        warnings.append(
            f"{callbacks} on_commit callback(s) were not called; a real migration calls them."
        )
    if record.section.substituted:
        warnings.extend(dict.fromkeys(record.section.substituted))
    return tuple(warnings)


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
        blocked=tuple(times.blocked),
        row_locks=tuple(times.row_locks),
        changed_in=times.changed_in,
    )


_SWALLOWED = (
    " (caught by the migration, but it had aborted the transaction: what was sent after it failed)"
)


def failure(
    error: BaseException, record: MigrationRecord | None, statements: Sequence[StatementFailure]
) -> Failure:
    """Say why in PostgreSQL's words: the first error, not what came of it."""
    cause: BaseException = error
    if isinstance(error, DatabaseError) and error.__cause__ is not None:
        cause = error.__cause__
    refused = [each for each in statements if each.error is cause]
    swallowed = isinstance(cause, psycopg.errors.InFailedSqlTransaction)
    if swallowed:
        refused = [each for each in statements if type(each.error) is not type(cause)][-1:]
        cause = refused[0].error if refused else cause
    operation = record.failed_in.operation.describe() if record and record.failed_in else None
    at_commit = operation is None and record is not None and isinstance(error, DatabaseError)
    return Failure(
        type(cause).__name__,
        _message(cause, record) + (_SWALLOWED if swallowed and refused else ""),
        operation,
        refused[0].sql if refused else "COMMIT" if at_commit else None,
        refused[0].violations if refused else None,
        blames_migration=not is_no_fault(type(cause)),
    )


def _message(error: BaseException, record: MigrationRecord | None) -> str:
    if is_out_of_locks(error):
        return OUT_OF_LOCKS
    if record is not None and is_our_timeout(error, record.statements):
        return f"{str(error).strip()}: {OUR_TIMEOUT}"
    section = record.failed_in.section if record and record.failed_in else None
    return message(error, of_code=section is None or section.origin == "code")
