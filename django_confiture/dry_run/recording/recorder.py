"""The recorder: told where each migration and each operation begins and ends.

Between those boundaries, whatever catches statements tells them to a :class:`StatementRecorder` or
a :class:`CloneRecorder`, which note them in the recorder's log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation

from django_confiture import signals
from django_confiture.dry_run.measuring.lock_timeline import TableTime
from django_confiture.dry_run.recording.instruments import Instruments
from django_confiture.dry_run.recording.records import (
    RecordedMigration,
    RecordedOperation,
    RecordedSection,
    RecordedStatement,
)
from django_confiture.dry_run.recording.sections import Section
from django_confiture.dry_run.recording.statement_log import Remarks
from django_confiture.dry_run.recording.statement_probes import StatementProbes
from django_confiture.dry_run.results import HookOutcome
from django_confiture.dry_run.sql.parsing.parser import Kind
from django_confiture.dry_run.sql.texts.redaction import message, origin_of
from django_confiture.hooks.base import Direction, HookContext, HookResult

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass
class OpenSection:
    """An operation, or what runs around them, while statements are recorded into it."""

    section: Section = field(default_factory=Section)
    hooks: list[HookOutcome] = field(default_factory=list)


@dataclass(frozen=True)
class OpenOperation:
    """An operation while it is recorded; deferred SQL of it may come after the others."""

    index: int
    operation: Operation
    recorded: OpenSection

    def note_skipped_by_router(self, reason: str) -> None:
        """Note why the operation does nothing on this database, unless it sent a statement."""
        self.recorded.section.skipped_by_router.append(reason)


@dataclass
class _OpenMigration:
    migration: Migration
    direction: Direction
    started: float
    around: OpenSection = field(default_factory=OpenSection)
    operations: list[OpenOperation] = field(default_factory=list)
    current: OpenOperation | None = None
    failed_in: OpenOperation | None = None
    hook_callbacks: int = 0
    """How many its hooks wanted to have called on commit."""


@dataclass(frozen=True)
class _Interrupted:
    """A migration, or the receivers of a signal, that called ``migrate`` for another one."""

    migration: _OpenMigration
    remarks: Remarks
    tables: dict[int, TableTime]
    began: float


class Recorder:
    """Records the migrations of one connection, one after the other."""

    def __init__(self, instruments: Instruments) -> None:
        self._clock = instruments.clock
        self._catalog = instruments.catalog
        self._log = instruments.log
        self._timeline = instruments.timeline
        self._limits_statements = instruments.limits_statements
        self._probes = StatementProbes(instruments)
        self._open: _OpenMigration | None = None
        self._interrupted: list[_Interrupted] = []
        self._hook_began: tuple[float, float] | None = None
        """When the hook that runs began, by the stopwatch and by ``perf_counter``."""

    # Migrations and operations.

    def start_migration(self, migration: Migration, direction: Direction) -> None:
        """Record from now on what this migration does."""
        if self._open is not None:
            timeline = self._timeline
            self._interrupted.append(
                _Interrupted(self._open, self._log.remarks, timeline.tables, timeline.began)
            )
        self._log.start_migration()
        self._timeline.start()
        self._open = _OpenMigration(migration, direction, self._clock.now())

    @contextmanager
    def around_operations(self) -> Iterator[None]:
        """Record what runs around the operations, until the block ends.

        Between the end of a migration and this, only Django's executor and the dry run itself are
        at work, so the server is not asked.
        """
        with self._until_boundary(self._running.around):
            yield

    @contextmanager
    def operation(self, index: int, operation: Operation) -> Iterator[OpenOperation]:
        """Record one operation of the migration, until the block ends."""
        recorded = OpenSection(Section(origin=origin_of(operation)))
        opened = OpenOperation(index, operation, recorded)
        self._running.operations.append(opened)
        with self.resumed(opened):
            yield opened

    @contextmanager
    def resumed(self, operation: OpenOperation, *, by_django: bool = False) -> Iterator[None]:
        """Record what runs inside as part of an operation that was recorded before.

        Where it is ``by_django`` alone, the server is asked only about the statements themselves.
        """
        running = self._running
        outer, running.current = running.current, operation
        try:
            with self._inside(operation.recorded, by_django=by_django):
                yield
        except BaseException:
            running.failed_in = operation
            raise
        running.current = outer

    @property
    def migration(self) -> Migration:
        """The migration that is being recorded."""
        return self._running.migration

    def recorded_so_far(self, operation: OpenOperation) -> RecordedOperation:
        """Return what was recorded of an operation; deferred SQL of it may still come."""
        recorded = self._recorded(operation.recorded)
        return RecordedOperation(operation.index, operation.operation, recorded)

    def finish_migration(self) -> RecordedMigration:
        """Return everything recorded of the migration, whose transaction is over."""
        self._timeline.release()
        running, self._open = self._running, None
        remarks = self._log.remarks
        operations = {
            each.index: RecordedOperation(each.index, each.operation, self._recorded(each.recorded))
            for each in running.operations
        }
        failed_in = running.failed_in
        recorded = RecordedMigration(
            migration=running.migration,
            direction=running.direction,
            duration_ms=(self._clock.now() - running.started) * 1000,
            commit_ms=remarks.commit_ms,
            around=self._recorded(running.around),
            operations=tuple(operations.values()),
            failed_in=None if failed_in is None else operations[failed_in.index],
            failures=tuple(remarks.failures),
            statements_limited=self._limits_statements,
            warnings=tuple(dict.fromkeys(remarks.warnings)),
            backfills=tuple(remarks.backfills),
            callbacks=remarks.callbacks + running.hook_callbacks,
            written_elsewhere=dict(remarks.written_elsewhere),
            tables=dict(self._timeline.tables),
        )
        self._go_on()
        return recorded

    def _go_on(self) -> None:
        """Take up what the finished migration has interrupted."""
        if self._interrupted:
            before = self._interrupted.pop()
            self._open = before.migration
            self._log.start_migration(before.remarks)
            self._timeline.resume(before.tables, before.began)

    def own_work(self) -> AbstractContextManager[None]:
        """Stop the clock inside the block."""
        return self._clock.stopped()

    @property
    def _running(self) -> _OpenMigration:
        assert self._open is not None
        return self._open

    @contextmanager
    def _inside(self, opened: OpenSection, *, by_django: bool = False) -> Iterator[None]:
        """Charge what the server counts inside the block to one section."""
        self._probes.boundary_before()
        boundary = self._probes.boundary_of_django if by_django else self._probes.boundary
        with self._until_boundary(opened, boundary):
            yield

    @contextmanager
    def _until_boundary(
        self, opened: OpenSection, boundary: Callable[[], None] | None = None
    ) -> Iterator[None]:
        with self._log.inside(opened.section):
            try:
                yield
            finally:
                (boundary or self._probes.boundary)()

    def _recorded(self, opened: OpenSection) -> RecordedSection:
        section, began = opened.section, self._timeline.began
        return RecordedSection(
            origin=section.origin,
            started_ms=max(0.0, ((section.started or 0.0) - began) * 1000),
            duration_ms=section.duration_ms,
            statements=tuple(
                RecordedStatement.of(entry, self._catalog, began)
                for entry in section.entries
                if entry.statement.kind is not Kind.SAVEPOINT
            ),
            substituted=tuple(dict.fromkeys(section.substituted)),
            not_rehearsed=section.why_not_rehearsed,
            skipped_by_router=() if section.entries else tuple(section.skipped_by_router),
            hooks=tuple(opened.hooks),
        )

    # Hooks.

    @contextmanager
    def following_hooks(self, wrapper: BaseDatabaseWrapper) -> Iterator[None]:
        """Note the hooks that run on a connection."""

        def started(*, context: HookContext, **_facts: object) -> None:
            if context.connection is wrapper:
                self._probes.boundary_before()
                self._hook_began = self._clock.now(), perf_counter()

        def finished(*, context: HookContext, **facts: Any) -> None:
            if context.connection is wrapper and self._open is not None:
                self._probes.boundary(f"in the hook {facts['hook']}")
                self._note_hook(self._open, context, **facts)

        signals.hook_started.connect(started)
        signals.hook_finished.connect(finished)
        try:
            yield
        finally:
            signals.hook_started.disconnect(started)
            signals.hook_finished.disconnect(finished)

    def _note_hook(
        self,
        running: _OpenMigration,
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
        """Note a hook, by what the signal says of it; the dry run's own work takes no time."""
        now = self._clock.now()
        began, moment = self._hook_began or (now, perf_counter())
        self._hook_began = None
        own_work = max(0.0, (perf_counter() - moment) - (now - began))
        running.hook_callbacks = len(context.recorded_on_commit)
        where = running.current.recorded if running.current is not None else running.around
        where.hooks.append(
            HookOutcome(
                hook,
                phase,
                max(0.0, duration_ms - own_work * 1000),
                result.rows_affected if result is not None else 0,
                outcome,
                reason or (message(error) if error is not None else ""),
                max(0.0, (began - self._timeline.began) * 1000),
            )
        )
