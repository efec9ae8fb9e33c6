"""``DryRunExecutor``: the Python API for a dry run of one migration."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import psycopg
from django.core.management.sql import emit_pre_migrate_signal
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_confiture.database_errors import other_database
from django_confiture.dry_run.borrowed_connection import django_connection
from django_confiture.dry_run.judge import Known
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.migration_executor import RehearsalExecutor
from django_confiture.dry_run.plan.refusals import SETTINGS_ERRORS
from django_confiture.dry_run.rehearsal import Rehearsal
from django_confiture.dry_run.results import (
    DryRunResult,
    MigrationEstimate,
    MigrationResult,
    Report,
)
from django_confiture.dry_run.settings import dry_run_settings
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from django_confiture.exceptions import DryRunError, DryRunRefused, DryRunYielded
from django_confiture.history.past_runs import past_errors
from django_confiture.production import ProductionStats

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration
    from django.db.migrations.state import ProjectState


class DryRunExecutor:
    """Rehearses one migration and rolls it back.

    ``stats`` are production's sizes, which the estimate is made for; see
    :func:`django_confiture.production.load`. Without them it is for this database.
    """

    def __init__(self, stats: ProductionStats | None = None) -> None:
        self._stats = stats

    def run(
        self,
        conn: psycopg.Connection[Any] | BaseDatabaseWrapper | str,
        migration: Migration,
    ) -> DryRunResult:
        """Apply ``migration`` in a transaction, measure it, roll it back.

        ``conn`` is one of Django's connections, its alias, or the psycopg connection that it
        holds. An open transaction is kept: everything happens behind a savepoint in it.
        Unapplied migrations that it depends on are rehearsed before it, and a warning says so.

        Raises :class:`DryRunError` from the original error where the migration would fail,
        :class:`DryRunYielded` where other sessions had waited for it, and :class:`DryRunRefused`
        where the dry run can't start.
        """
        with django_connection(conn) as wrapper:
            _ensure_connected(wrapper)
            settings = dry_run_settings()
            known = Known(self._stats, past_errors(wrapper.alias), settings.calibration_file())
            rehearsal = transaction_rehearsal(
                wrapper, settings=settings, known=known, running_code=settings.running_code
            )
            try:
                with rehearsal.open():
                    _apply(rehearsal, wrapper, migration)
            except DryRunRefused:
                raise
            except (Exception, SystemExit) as error:
                if rehearsal.waiters:
                    raise DryRunYielded(rehearsal.waiters) from error
                if isinstance(error, SETTINGS_ERRORS) and not rehearsal.results:
                    raise
                raise DryRunError(migration.name, error) from error
        report = rehearsal.report()
        return _result(report, report.migrations[-1])


def _ensure_connected(wrapper: BaseDatabaseWrapper) -> None:
    if problem := other_database(wrapper, "a dry run"):
        raise DryRunRefused(problem)
    try:
        wrapper.ensure_connection()
    except Error as error:
        raise DryRunRefused(f"Cannot connect to {wrapper.alias!r}: {error}") from error


def _apply(rehearsal: Rehearsal, wrapper: BaseDatabaseWrapper, migration: Migration) -> None:
    executor = RehearsalExecutor(rehearsal, wrapper)
    executor.recorder.ensure_schema()
    key = (migration.app_label, migration.name)
    if key in executor.loader.applied_migrations:
        raise ValueError(
            f"{migration} is applied already; a dry run rehearses what is still to be applied."
        )
    state = _state_before(executor, migration)
    plan = [(migration, False)]
    executor.record(migration)
    _emit_pre_migrate(wrapper.alias, state, plan)
    executor.apply_migration(state, migration)


def _state_before(executor: RehearsalExecutor, migration: Migration) -> ProjectState:
    """Return the state that it starts from; what it depends on and is missing is applied."""
    missing = []
    key = (migration.app_label, migration.name)
    if key in executor.loader.graph.nodes:
        steps = executor.migration_plan([key])
        missing = [step for step in steps if (step[0].app_label, step[0].name) != key]
    state: ProjectState = executor.project_state()
    executor.look_ahead([*missing, (migration, False)], state)
    if missing:
        _emit_pre_migrate(executor.connection.alias, state, missing)
        state = executor.migrate([], plan=missing, state=state)
    return state


def _emit_pre_migrate(using: str, state: ProjectState, plan: list[tuple[Migration, bool]]) -> None:
    emit_pre_migrate_signal(verbosity=0, interactive=False, db=using, apps=state.apps, plan=plan)


def _result(report: Report, result: MigrationResult) -> DryRunResult:
    others = [each.label for each in report.migrations[:-1]]
    estimate = result.estimate
    warnings = [
        *([f"Rehearsed first, as it depends on them: {', '.join(others)}."] if others else []),
        *_doubts(result.estimate),
        *report.warnings,
        *result.warnings,
        *(op.reason for op in result.operations if op.reason),
    ]
    return DryRunResult(
        migration_name=result.name,
        migration_version=result.version,
        success=result.outcome == "passed",
        execution_time_ms=round(result.duration_ms),
        rows_affected=result.rows_affected,
        locked_tables=[
            table.relation
            for table in result.tables
            if LockMode[table.strongest_lock] >= LockMode.RowExclusiveLock
        ],
        estimated_production_time_ms=round(estimate.expected_ms) if estimate is not None else 0,
        confidence_percent=estimate.confidence_percent if estimate is not None else 0,
        warnings=warnings,
        stats={
            "operations": len(result.operations),
            "statements": sum(len(op.statements) for op in result.operations),
            "reads_blocked_ms": {t.relation: t.reads_blocked_ms for t in result.tables},
            "writes_blocked_ms": {t.relation: t.writes_blocked_ms for t in result.tables},
            "locks": {t.relation: t.strongest_lock for t in result.tables},
            "deploy_order": report.deploy.order,
            "sequences_moved": [move.sequence for move in report.sequences_moved],
            "dead_bytes": report.dead_bytes,
            "estimate": asdict(estimate) if estimate is not None else None,
            "production": {t.relation: asdict(t.production) for t in result.tables if t.production},
        },
    )


def _doubts(estimate: MigrationEstimate | None) -> list[str]:
    """Return what the estimate rests on, or why there is none."""
    if estimate is None:
        return ["Nothing was measured to its end, so there is no estimate."]
    found = [f"The estimate: {text}." for text in estimate.basis]
    if not estimate.confidence_percent:
        found.append("No confidence is stated: no such forecast has been compared with a real run.")
    return found
