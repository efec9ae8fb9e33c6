"""``--reverse``: undo the plan inside the transaction of the dry run, and compare the schema."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.core.management.sql import emit_pre_migrate_signal
from django.db.migrations.exceptions import IrreversibleError

from django_confiture.dry_run.measuring.schema.schema_objects import differences, reordered
from django_confiture.dry_run.migration_executor import RehearsalExecutor
from django_confiture.dry_run.report_builder import failure
from django_confiture.dry_run.results import ReverseResult
from django_confiture.exceptions import DryRunRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.migration import Migration

    from django_confiture.dry_run.rehearsal import Rehearsal

Plan = list[tuple["Migration", bool]]


class Reversal:
    """Undoes the plan of a rehearsal; made before the plan runs.

    It has its own instances of the plan's migrations, as would the process that undoes it for real,
    but the graph from before the plan: once a squashed migration's last part is applied, Django's
    graph no longer knows the parts.
    """

    def __init__(self, rehearsal: Rehearsal, wrapper: BaseDatabaseWrapper) -> None:
        self._rehearsal = rehearsal
        self._executor = RehearsalExecutor(rehearsal, wrapper)

    def run(self) -> ReverseResult | None:
        """Undo the plan, compare, and return the result; None if there was nothing to undo."""
        if not self._rehearsal.plan:
            return None
        plan = self._reversed(self._rehearsal.plan)
        error: Exception | SystemExit | None = None
        with self._rehearsal.reversing():
            try:
                self._migrate(plan)
            except DryRunRefused:
                raise
            except (Exception, SystemExit) as caught:  # noqa: BLE001 - whatever undoing raises is its outcome
                error = caught
            migrations = self._rehearsal.migrations()
        if error is None:
            return self._compared(ReverseResult("same", migrations))
        errors = [result.error for result in migrations if result.error is not None]
        return ReverseResult(
            "irreversible" if isinstance(error, IrreversibleError) else "failed",
            migrations,
            error=errors[0] if errors else failure(error, None),
        )

    def _reversed(self, done: Sequence[tuple[Migration, bool]]) -> Plan:
        """Return the plan that undoes ``done``; the executor learns what is applied by now."""
        loader: Any = self._executor.loader
        plan: Plan = []
        for migration, backwards in done:
            key = (migration.app_label, migration.name)
            own = loader.graph.nodes[key]
            if backwards:
                loader.applied_migrations.pop(key, None)
            else:
                loader.applied_migrations[key] = own
            plan.insert(0, (own, not backwards))
        return plan

    def _migrate(self, plan: Plan) -> None:
        executor = self._executor
        for migration, _backwards in plan:
            executor.record(migration)
        emit_pre_migrate_signal(
            verbosity=0,
            interactive=False,
            db=executor.connection.alias,
            apps=executor.project_state().apps,
            plan=plan,
        )
        executor.migrate(None, plan=plan)

    def _compared(self, result: ReverseResult) -> ReverseResult:
        first, now = self._rehearsal.schemas()
        found = differences(first, now)
        notes = tuple(
            f"The columns of {table} are in another order than before, which matters only to "
            "SELECT *, and to INSERT and COPY without column names."
            for table in reordered(first, now)
        )
        return replace(
            result, outcome="different" if found else "same", differences=found, notes=notes
        )
