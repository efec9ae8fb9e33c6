"""Builds the results that reports are made of from what was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import psycopg
from django.db import DatabaseError
from django.db.migrations.migration import Migration

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.measuring.effects import Effects
from django_confiture.dry_run.measuring.lock_timeline import TableTime
from django_confiture.dry_run.measuring.relations import Catalog
from django_confiture.dry_run.plan.refusals import OUT_OF_LOCKS, is_out_of_locks
from django_confiture.dry_run.recording.records import RecordedMigration, RecordedOperation
from django_confiture.dry_run.results import (
    Failure,
    MigrationResult,
    OperationResult,
    Rehearsed,
    StatementResult,
    TableResult,
)
from django_confiture.dry_run.results.error_classes import is_no_fault, original_error
from django_confiture.dry_run.results.source_location import Source, locate
from django_confiture.dry_run.sql.texts.redaction import message
from django_confiture.dry_run.sql.transactions.timeouts import OUR_TIMEOUT
from django_confiture.exceptions import HookError
from django_confiture.formatting import count
from django_confiture.hooks.context import migration_version

_TABLES = {"r", "p", "m", "f", "v"}

_AROUND = "This report covers what ran around its operations only in part: {}"

_ELSEWHERE = (
    "Another connection of this process, to {alias!r}, wrote {rows} of {table}. What it locked, "
    "and what triggers and cascades wrote, is not in this report."
)

_SWALLOWED = (
    " (caught by the migration, but it had aborted the transaction: what was sent after it failed)"
)


def migration_result(
    recorded: RecordedMigration, catalog: Catalog, error: BaseException | None
) -> MigrationResult:
    """Return what the reports need of one migration; ``error`` is what it failed with."""
    migration = recorded.migration
    source = locate(migration)
    return MigrationResult(
        migration.app_label,
        migration.name,
        migration_version(migration.name),
        recorded.direction,
        "failed" if error is not None else "passed",
        duration_ms=recorded.duration_ms,
        error=failure(error, recorded) if error is not None else None,
        operations=tuple(_operation(each, source) for each in recorded.operations),
        statements=recorded.around.results,
        commit_ms=recorded.commit_ms,
        hooks=recorded.around.hooks,
        tables=_tables(recorded, catalog),
        warnings=tuple(_warnings(recorded)),
        file=source.file,
        line=source.line,
    )


def not_run(
    plan: Iterable[tuple[Migration, bool]], results: Iterable[MigrationResult]
) -> Iterator[MigrationResult]:
    """Yield a result for each migration of the plan that has none."""
    done = {(result.app_label, result.name) for result in results}
    for migration, backwards in plan:
        if (migration.app_label, migration.name) in done:
            continue
        source = locate(migration)
        yield MigrationResult(
            migration.app_label,
            migration.name,
            migration_version(migration.name),
            "backward" if backwards else "forward",
            "not_run",
            file=source.file,
            line=source.line,
        )


def failure(error: BaseException, recorded: RecordedMigration | None) -> Failure:
    """Return the failure in PostgreSQL's words: the first error, not its consequences."""
    cause = error if isinstance(error, HookError) else original_error(error)
    failures = recorded.failures if recorded is not None else ()
    refused = [each for each in failures if each.error is cause]
    swallowed = isinstance(cause, psycopg.errors.InFailedSqlTransaction)
    if swallowed:
        refused = [each for each in failures if type(each.error) is not type(cause)][-1:]
        cause = refused[0].error if refused else cause
    failed_in = recorded.failed_in if recorded is not None else None
    at_commit = failed_in is None and recorded is not None and isinstance(error, DatabaseError)
    return Failure(
        type(cause).__name__,
        _message(cause, recorded) + (_SWALLOWED if swallowed and refused else ""),
        failed_in.operation.describe() if failed_in is not None else None,
        refused[0].sql if refused else "COMMIT" if at_commit else None,
        refused[0].violations if refused else None,
        blames_migration=not is_no_fault(type(original_error(cause))),
    )


def _message(error: BaseException, recorded: RecordedMigration | None) -> str:
    if is_out_of_locks(error):
        return OUT_OF_LOCKS
    if recorded is not None and recorded.exceeded_our_timeout(error):
        return f"{str(error).strip()}: {OUR_TIMEOUT}"
    failed_in = recorded.failed_in if recorded is not None else None
    return message(error, of_code=failed_in is None or failed_in.section.origin == "code")


def _operation(recorded: RecordedOperation, source: Source) -> OperationResult:
    section, operation = recorded.section, recorded.operation
    rehearsed: Rehearsed = "exact"
    if section.not_rehearsed:
        rehearsed = "not_rehearsed"
    elif section.substituted:
        rehearsed = "substituted"
    elif section.skipped_by_router:
        rehearsed = "skipped_by_router"
    line, end_line = source.of(operation)
    return OperationResult(
        recorded.index,
        type(operation).__name__,
        operation.describe(),
        rehearsed,
        " ".join(
            dict.fromkeys(
                [*section.not_rehearsed, *section.substituted, *section.skipped_by_router]
            )
        ),
        section.duration_ms,
        section.results,
        section.hooks,
        section.started_ms,
        line,
        end_line,
    )


def _warnings(recorded: RecordedMigration) -> Iterator[str]:
    yield from recorded.warnings
    if recorded.callbacks:
        yield f"A real migration would also call {count(recorded.callbacks, 'on_commit callback')}."
    for (alias, table), rows in recorded.written_elsewhere.items():
        yield _ELSEWHERE.format(alias=alias, table=table, rows=count(rows, "row"))
    yield from recorded.around.substituted
    yield from (_AROUND.format(why) for why in recorded.around.not_rehearsed)


def _tables(recorded: RecordedMigration, catalog: Catalog) -> tuple[TableResult, ...]:
    effects = recorded.effects
    wrote = {oid for e in effects for oid, _counters in e.writes}
    read = {oid for e in effects for oid, _rows, _passes in e.scans}
    statements = [each.result for each in recorded.recorded_statements]
    names = {
        oid: catalog.relations[oid].shown
        for oid in recorded.tables.keys() | wrote | read
        if catalog.relations[oid].kind in _TABLES
    }
    found = (
        _table(name, oid, recorded.tables.get(oid), effects, _waited_ms(statements, name))
        for oid, name in names.items()
    )
    return tuple(sorted(found, key=lambda table: (-table.writes_blocked_ms, table.relation)))


def _waited_ms(statements: Iterable[StatementResult], relation: str) -> float | None:
    """Return how long statements waited for locks on a table, None where that was not seen."""
    seen = [each for each in statements if each.waited_ms is not None]
    if not seen:
        return None
    return sum(wait.ms for each in seen for wait in each.waits if wait.relation == relation)


def _table(
    name: str,
    oid: int,
    times: TableTime | None,
    effects: Sequence[Effects],
    waited_ms: float | None,
) -> TableResult:
    scans = [rows for e in effects for o, rows, _passes in e.scans if o == oid]
    written = sum(
        wrote.inserted + wrote.updated + wrote.deleted
        for e in effects
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
        rewritten=any(oid in e.rewrites for e in effects),
        rows_scanned=None if None in scans else sum(rows or 0 for rows in scans),
        rows_written=written,
        blocked=tuple(times.blocked),
        row_locks=tuple(times.row_locks),
        changed_in=times.changed_in,
        waited_ms=waited_ms,
    )
