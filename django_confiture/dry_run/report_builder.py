"""The results of a dry run, and the report that they become."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from psycopg.errors import LockNotAvailable

from django_confiture.dry_run.recording.records import failure
from django_confiture.dry_run.results import (
    Database,
    Failure,
    MigrationResult,
    Preflight,
    ProductionDatabase,
    Report,
    ReverseResult,
    RunOutcome,
    SequenceMove,
    Waiter,
)
from django_confiture.dry_run.results.source_location import locate
from django_confiture.hooks.context import migration_version

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration

    from django_confiture.dry_run.findings.plan_history import History
    from django_confiture.dry_run.isolation.other_aliases import OtherConnections
    from django_confiture.dry_run.isolation.watchdog import Watchdog
    from django_confiture.dry_run.recording.recorder import Recorder

    Plan = list[tuple[Migration, bool]]


class Outcome:
    """Collects what comes of a dry run."""

    mode: Literal["transaction", "clone"] = "transaction"
    recorder: Recorder
    _database: Database
    _history: History

    def __init__(self) -> None:
        self._watchdog: Watchdog | None = None
        self._others: OtherConnections | None = None
        self._results: list[MigrationResult] = []
        self._plan: list[tuple[Migration, bool]] = []
        self.choose: Callable[[Plan], Plan] | None = None
        """Cuts the plan down to what is asked for."""
        self.notes: list[str] = []
        """What the report has to say about how it was asked for."""
        self._error: Failure | None = None
        self.preflight: Preflight | None = None
        self.production: ProductionDatabase | None = None
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

    def failed(self, error: BaseException) -> None:
        """Note an error outside any migration: a receiver of pre_migrate or post_migrate."""
        if all(result.error is None for result in self._results):
            self._error = failure(error, None, ())

    @property
    def waiters(self) -> tuple[Waiter, ...]:
        """The sessions for whose sake the dry run ended."""
        return self._watchdog.waiters if self._watchdog is not None else ()

    @property
    def yielded(self) -> bool:
        """Say whether the dry run ended for the sake of other sessions."""
        if self.waiters:
            return True
        if self.mode == "clone":
            return False  # nobody else is there: the migration waits for itself
        errors = (self._error, *(result.error for result in self._results))
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
                file=source.file,
                line=source.line,
            )
            for migration, backwards in self._plan
            for source in (locate(migration),)
            if (migration.app_label, migration.name) not in done
        )
        return (*self._history.settled(self._results), *not_run)

    def report(self) -> Report:
        """Return what was found."""
        elsewhere = self._others.sequences_moved if self._others is not None else ()
        return Report(
            database=self._database,
            outcome=self._outcome,
            duration_ms=(perf_counter() - self._started) * 1000,
            migrations=self.migrations(),
            error=self._error,
            preflight=self.preflight,
            production=self.production,
            reverse=self.reverse,
            sequences_moved=(*self._moved, *elsewhere),
            dead_bytes=self._dead_bytes,
            yielded_to=self.waiters,
            warnings=self._warnings(),
            mode=self.mode,
        )

    @property
    def _outcome(self) -> RunOutcome:
        if self.yielded:
            return "yielded"
        failed = self._error or any(result.error is not None for result in self._results)
        return "failed" if failed else "passed"

    def _warnings(self) -> tuple[str, ...]:
        warnings = [*self.notes]
        if self._others is not None and self._others.unmanaged_count:
            warnings.append(
                f"{self._others.unmanaged_count} connection(s) were opened past Django's; they "
                "could not write, and what they did is not in this report."
            )
        if self._others is not None:
            warnings.extend(
                f"A COMMIT or ROLLBACK on the alias {alias!r} was refused: what it wrote could "
                "not be rolled back afterwards."
                for alias in self._others.refused_commits
            )
        if self._watchdog is not None and self.yielded and not self.waiters:
            warnings.extend(
                f"Waited in vain for a lock of session {blocker.pid} "
                f"({blocker.application or 'no name'}, {blocker.state})."
                for blocker in self._watchdog.blockers
            )
        return tuple(warnings)


def no_lock(error: BaseException) -> bool:
    """Say whether an error is a lock timeout, of psycopg or of Django."""
    return isinstance(error, LockNotAvailable) or isinstance(error.__cause__, LockNotAvailable)
