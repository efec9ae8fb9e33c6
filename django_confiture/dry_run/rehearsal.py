"""One dry run on one connection: passes ``migrate``'s events to recorder, judge and report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from time import perf_counter

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_confiture import silencing
from django_confiture.dry_run.deploy_watch import Releases
from django_confiture.dry_run.findings.rules.plan_drift import drift_notes, with_drift
from django_confiture.dry_run.isolation.router_watch import RouterWatch
from django_confiture.dry_run.judge import Known
from django_confiture.dry_run.measuring.schema.schema_objects import Schema
from django_confiture.dry_run.open_rehearsal import OpenRehearsal, open_rehearsal
from django_confiture.dry_run.plan.planned import Planned
from django_confiture.dry_run.plan.tenants import tenants_not_seen
from django_confiture.dry_run.plan_outcome import Plan, PlanOutcome
from django_confiture.dry_run.recording.recorder import OpenOperation
from django_confiture.dry_run.recording.records import migration_log_fields
from django_confiture.dry_run.report_builder import not_run
from django_confiture.dry_run.results import (
    MigrationResult,
    Preflight,
    Report,
    ReverseResult,
    RunOutcome,
    Waiter,
)
from django_confiture.dry_run.results.observer import Observer
from django_confiture.dry_run.stage import Stage, naming_waits
from django_confiture.hooks.base import Direction

logger = logging.getLogger("django_confiture.dry_run")


class Rehearsal:
    """Coordinates a dry run; others record, judge and report."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        stage: Stage,
        *,
        known: Known | None = None,
        show_values: bool = False,
        running_code: bool = False,
        choose: Callable[[Plan], Plan] | None = None,
        observer: Observer | None = None,
    ) -> None:
        """``choose`` returns the part of the plan that is to be rehearsed.

        ``running_code`` has the models of both releases tried on each other's schema.
        """
        self._wrapper = wrapper
        self._stage = stage
        self._known = known or Known()
        self._show_values = show_values
        self._choose = choose
        self._observer = observer or Observer()
        self._running_code = running_code
        self._outcome = PlanOutcome()
        self._preflight: Preflight | None = None
        self._notes = [*tenants_not_seen(wrapper)]
        self._opened: OpenRehearsal | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Rehearse what is migrated inside the block, and restore everything at its end."""
        with open_rehearsal(
            self._wrapper,
            self._stage,
            self._known,
            show_values=self._show_values,
            running_code=self._running_code,
        ) as self._opened:
            yield
            self._end_deploy_watch()

    @property
    def _run(self) -> OpenRehearsal:
        assert self._opened is not None
        return self._opened

    @property
    def router_watch(self) -> RouterWatch:
        """What the project's routers say while operations run."""
        return self._run.router_watch

    # Told by Django's executor.

    def chosen(self, plan: Plan) -> Plan:
        """Return the part of a plan that is to be rehearsed."""
        return plan if self._choose is None else self._choose(plan)

    def planned(self, plan: Sequence[tuple[Migration, bool]]) -> None:
        """Note the plan, so that what did not run is in the report as well."""
        silencing.check_plan(plan)
        self._outcome.plan += plan  # a receiver may call migrate again
        self._observer.planned(plan)

    def look_ahead(self, read: Callable[[], Planned], releases: Callable[[], Releases]) -> None:
        """Find out what the plan will touch, and refuse what can't be rehearsed here."""
        read = cache(read)
        with naming_waits(self._stage):  # what it reads may be locked
            self._run.judge.expect(read())
        if self._preflight is not None:
            return  # the plan is being undone
        self._preflight = self._stage.look_ahead(read)
        if self._preflight is not None:
            self._observer.preflighted(self._preflight)
        with self._run.own_work():
            self._run.deploy_watch.start(releases, read)

    def restore_at_end(self, migration: Migration) -> None:
        """Note an instance that is about to be changed: it may be the caller's."""
        self._run.instances.note(migration)

    @contextmanager
    def migration(self, migration: Migration, direction: Direction) -> Iterator[None]:
        """Rehearse one migration: everything until the context is left belongs to it."""
        facts = migration_log_fields(migration)
        logger.info("dry_run_start", extra=facts)
        self._run.recorder.start_migration(migration, direction)
        try:
            with self._run.own_work():
                self._begin(migration, direction)
            with self._run.recorder.around_operations():
                yield
            with self._run.own_work():
                self._stage.check()
        except BaseException as error:
            self._finish(error)
            logger.exception("dry_run_failed", extra={**facts, "error": str(error)})
            raise
        result = self._finish(None)
        done = {"execution_time_ms": round(result.duration_ms), "success": True}
        logger.info("dry_run_completed", extra={**facts, **done})

    def _begin(self, migration: Migration, direction: Direction) -> None:
        self._observer.migration_started(
            str(migration),
            backwards=direction == "backward",
            number=len(self._outcome.results) + 1,
            total=len(self._outcome.plan),
        )
        self._stage.start_migration()
        self._run.judge.start_migration()

    def _finish(self, error: BaseException | None) -> MigrationResult:
        with self._run.own_work():
            recorded = self._run.recorder.finish_migration()
            self._stage.end_migration()
            excused = error is not None and self._stage.excuses(error, recorded)
            breaks = self._run.deploy_watch.migration_ended(recorded, error)
            result = self._run.judge.result(recorded, error, breaks, excused=excused)
        if error is not None and self._stage.expired_lock_wait(error):
            self._outcome.lock_wait_expired = True
        self._outcome.results.append(result)
        self._observer.migration_finished(result)
        return result

    @contextmanager
    def operation(self, index: int, operation: Operation) -> Iterator[OpenOperation]:
        """Rehearse one operation of the current migration."""
        self._observer.operation_started(index, operation.describe())
        with self._run.recorder.operation(index, operation) as opened:
            yield opened
            self._run.stage.settle()
            self._run.stage.instruments.dead_space.check()
        if self._run.deploy_watch.follows_operations_of(self._run.recorder.migration):
            with self._run.own_work():
                recorded = self._run.recorder.recorded_so_far(opened)
                self._run.deploy_watch.operation_ended(self._run.recorder.migration, recorded)

    def note(self, text: str) -> None:
        """Add a line to the report, once."""
        if text not in self._notes:
            self._notes.append(text)

    def deferred(self, origin: OpenOperation | None) -> AbstractContextManager[None]:
        """Record deferred SQL where it comes from."""
        if origin is None:
            return nullcontext()
        return self._run.recorder.resumed(origin, by_django=True)

    def plan_ended(self, start: ProjectState, end: ProjectState) -> None:
        """Compare what a plan that went forward leaves with what its models would make."""
        outcome = self._outcome
        if outcome.failed or not outcome.results or any(back for _, back in outcome.plan):
            return
        with self._run.own_work():
            drift = self._run.judge.drift(self._wrapper, start, end, outcome.results)
        outcome.results = with_drift(outcome.results, outcome.plan, drift)
        self._run.deploy_watch.made_as_models = drift.made_as_models
        self._notes += drift_notes(drift)

    def failed(self, error: BaseException) -> None:
        """Note an error outside any migration: a receiver of pre_migrate or post_migrate."""
        if not self._outcome.failed:
            self._outcome.failed_outside(error, waited=self._stage.expired_lock_wait(error))

    # The outcome.

    @property
    def results(self) -> Sequence[MigrationResult]:
        """The migrations rehearsed so far."""
        return self._outcome.results

    @property
    def plan(self) -> Sequence[tuple[Migration, bool]]:
        """The migrations to rehearse, with whether backwards."""
        return self._outcome.plan

    @property
    def relation_names(self) -> set[str]:
        """What exists in the database, as reports name it."""
        return {each.shown for each in self._run.stage.instruments.catalog.relations.values()}

    @property
    def waiters(self) -> tuple[Waiter, ...]:
        """The waiting sessions that made the dry run end."""
        return self._stage.waiters

    def _end_deploy_watch(self) -> None:
        whole = len(self._outcome.results) == len(self._outcome.plan)
        self._run.deploy_watch.end(complete=whole and not self._outcome.failed)

    @contextmanager
    def reversing(self) -> Iterator[None]:
        """Collect results apart from the plan's."""
        self._end_deploy_watch()
        forward, self._outcome = self._outcome, PlanOutcome()
        try:
            yield
        finally:
            self._outcome = forward

    def schemas(self) -> tuple[Schema, Schema]:
        """Return the schema before the first migration, and as it is now."""
        return self._run.judge.schemas()

    def migrations(self) -> tuple[MigrationResult, ...]:
        """Return the results; what the plan still held did not run."""
        results = self._outcome.results
        return (*self._run.judge.settled(results), *not_run(self._outcome.plan, results))

    def report(self, *, notes: Sequence[str] = (), reverse: ReverseResult | None = None) -> Report:
        """Return the report; ``notes`` are lines about how the dry run was requested."""
        gave_up = self._outcome.lock_wait_expired
        return Report(
            database=self._run.stage.database,
            outcome=self._run_outcome(),
            duration_ms=(perf_counter() - self._run.started) * 1000,
            migrations=self.migrations(),
            receivers=self._run.receivers.results,
            error=self._outcome.error,
            preflight=self._preflight,
            deploy=self._run.deploy_watch.deploy,
            production=self._known.production,
            calibration=self._known.calibrated,
            reverse=reverse,
            sequences_moved=self._stage.sequences_moved,
            dead_bytes=self._stage.dead_bytes,
            yielded_to=self.waiters,
            warnings=(*notes, *self._notes, *self._stage.warnings(gave_up=gave_up)),
            mode=self._stage.mode,
        )

    def _run_outcome(self) -> RunOutcome:
        if self.waiters:
            return "yielded"
        return "failed" if self._outcome.failed else "passed"
