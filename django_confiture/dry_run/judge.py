"""Judges a recorded migration: its findings, its forecast, its changes to the schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from django_confiture.calibration_file import CalibrationFile
from django_confiture.dry_run.estimates import Forecaster, PastErrors, Sizes
from django_confiture.dry_run.estimates.backfills import with_backfills
from django_confiture.dry_run.estimates.calibration import calibration_of
from django_confiture.dry_run.findings.plan_history import PlanHistory
from django_confiture.dry_run.measuring.relations import Catalog
from django_confiture.dry_run.measuring.schema.schema_diff import SchemaWatch
from django_confiture.dry_run.measuring.schema.schema_objects import Schema
from django_confiture.dry_run.plan.reach import reached
from django_confiture.dry_run.recording.records import RecordedMigration
from django_confiture.dry_run.report_builder import migration_result
from django_confiture.dry_run.results import CalibrationUsed, MigrationResult, ProductionDatabase
from django_confiture.dry_run.results.deploy import StepBreaks
from django_confiture.dry_run.schema_check.made_in_plan import TablesMade
from django_confiture.dry_run.schema_check.plan_check import PlanDrift, check_plan
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.formatting import one_line
from django_confiture.production import ProductionStats
from django_confiture.production.stats import QueryStats

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.state import ProjectState

    from django_confiture.dry_run.plan.planned import Planned


@dataclass(frozen=True)
class Known:
    """What a migration is judged by, beyond what was measured."""

    stats: ProductionStats | None = None
    """Production's sizes."""
    past_errors: Mapping[str, PastErrors] | None = None
    """Errors of earlier forecasts, by the kind of work."""
    calibration: CalibrationFile | None = None
    """The constants of this machine, instead of the shipped ones."""

    @property
    def queries(self) -> Sequence[QueryStats]:
        """The queries that production runs often, where the stats file has them."""
        return () if self.stats is None else self.stats.queries

    @property
    def production(self) -> ProductionDatabase | None:
        """The database that the sizes are of."""
        stats = self.stats
        if stats is None:
            return None
        collected = stats.collected_at.isoformat()
        return ProductionDatabase(stats.database, stats.server_version, collected)

    @property
    def calibrated(self) -> CalibrationUsed | None:
        """The calibration, as reports name it."""
        file = self.calibration
        if file is None:
            return None
        return CalibrationUsed(file.path, file.made_at, file.server_version, tuple(file.kinds))


_STOPPED = "The dry run stopped in it."


class Judge:
    """Judges one migration after the other, each by what those before it did."""

    def __init__(
        self,
        session: Session,
        catalog: Catalog,
        known: Known,
        *,
        has_lock_timeout: bool,
        recount: Callable[[], None],
    ) -> None:
        """``recount`` takes what was read of rows out of what the next migration is charged."""
        self._session = session
        self._catalog = catalog
        self._sizes = sizes = Sizes(session, catalog, known.stats)
        self._history = PlanHistory(
            session,
            catalog,
            has_lock_timeout=has_lock_timeout,
            recount=recount,
            ratio=lambda relation: sizes.scale(relation).ratio,
        )
        self._forecaster = Forecaster(
            session, sizes, known.past_errors, calibration=calibration_of(known.calibration)
        )
        self._schema: SchemaWatch | None = None
        self._made = TablesMade()
        self._plan_expected = False
        self._plan_started = False

    def expect(self, planned: Planned | None) -> None:
        """Read what is to be known of a plan's tables before it begins; None for all tables."""
        tables = None if planned is None else reached(planned, self._session)
        self._history.expect(tables)
        if self._schema is None:
            self._schema = SchemaWatch(self._session, tables)
        elif self._plan_started:  # another plan, which may reach others
            self._schema.read_rest()
        self._plan_expected = True

    def start_migration(self) -> None:
        """Note that a migration is about to run; the first one finds what a plan is undone to."""
        if not self._plan_expected:
            self.expect(None)
        assert self._schema is not None  # it is read for the plan
        if not self._plan_started:
            self._schema.start_here()
        self._plan_started = True
        self._schema.migration_begins()

    def start_receivers(self) -> None:
        """Note that receivers of a signal are about to be called."""
        if self._schema is not None:
            self._schema.migration_begins()

    def receiver_is_called(self) -> None:
        """Read the whole schema before a receiver that may change any of it."""
        if self._schema is None:
            self._schema = SchemaWatch(self._session)
            self._schema.migration_begins()
        self._schema.read_rest()

    def no_result(self) -> None:
        """Note that what has started gets no result."""
        if self._schema is not None:
            self._schema.migration_ended()

    def result(
        self,
        recorded: RecordedMigration,
        error: BaseException | None,
        breaks: StepBreaks,
        *,
        excused: bool,
    ) -> MigrationResult:
        """Return a migration's result, while the transaction that it ran in is still open.

        ``breaks`` are what it breaks for the running code.
        ``excused`` says that the ``error`` says nothing about it: it never came to its end.
        """
        result = migration_result(recorded, self._catalog, error)
        result = with_backfills(result, recorded.backfills, self._sizes)
        if self._schema is not None:
            result = self._schema.noted(result)
        steps = self._history.steps(recorded)
        result = replace(
            result,
            findings=self._history.findings(recorded, steps, result, breaks),
            warnings=(*result.warnings, *self._history.notes(recorded, steps)),
        )
        if excused:
            result = replace(_cut_off(result, recorded), outcome="not_run")
        result = self._forecaster.estimated(result, steps)
        self._made.note((each.statement for each in steps), result.schema_changes)
        return result

    def settled(self, results: Iterable[MigrationResult]) -> tuple[MigrationResult, ...]:
        """Return the results without what a later migration of the plan has fixed."""
        return tuple(self._history.settled(results))

    def schemas(self) -> tuple[Schema, Schema]:
        """Return the schema before the first migration, and as it is now."""
        assert self._schema is not None  # a migration ran
        return self._schema.first, self._schema.now()

    def drift(
        self,
        wrapper: BaseDatabaseWrapper,
        start: ProjectState,
        end: ProjectState,
        results: Iterable[MigrationResult],
    ) -> PlanDrift:
        """Return how the tables that the plan touched differ from their models."""
        schema = self._schema
        if schema is None:
            return PlanDrift()
        changed = {
            name
            for each in results
            for change in each.schema_changes
            for name in (change.relation, change.name)
            if name is not None
        }
        try:
            return check_plan(
                self._session,
                wrapper,
                start=start,
                end=end,
                changed=changed,
                first=lambda: schema.first,
                made=self._made,
            )
        except (psycopg.Error, LookupError, ValueError, TypeError) as error:
            return PlanDrift(not_compared={"the tables of the plan": one_line(error)})

    def close(self) -> None:
        """Release what a rollback does not undo."""
        if self._schema is not None:
            self._schema.close()


def _cut_off(result: MigrationResult, recorded: RecordedMigration) -> MigrationResult:
    """Return the result with the operation in which the dry run stopped: it was not rehearsed."""
    if recorded.failed_in is None:
        return result
    operations = tuple(
        replace(each, rehearsed="not_rehearsed", reason=f"{each.reason} {_STOPPED}".strip())
        if each.index == recorded.failed_in.index
        else each
        for each in result.operations
    )
    return replace(result, operations=operations)
