"""``pre_migrate`` → each planned migration gets its phases.

The instances in the signal's plan are the very ones that Django's executor runs, so their
``apply`` and ``unapply`` are shadowed with wrappers that run the phases around the original.
Nothing of Django's is patched, and ``migrate`` is not overridden.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from django_confiture import conf, phases, signals, timeouts
from django_confiture.exceptions import HookError
from django_confiture.hooks.base import Direction, Hook, HookPhase
from django_confiture.hooks.executor import HookExecutor
from django_confiture.hooks.run import (
    attach_context,
    check_deferred_constraints,
    flush_deferred_sql,
    new_context,
)
from django_confiture.operations import AROUND

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.migration import Migration
    from django.db.migrations.state import ProjectState

logger = logging.getLogger("django_confiture.hooks")

_WOVEN = "_confiture_woven"

Plan = Iterable[tuple["Migration", bool]]
Step = Callable[..., "ProjectState"]


def weave_plan(
    *, plan: Plan = (), using: str, sender: object = None, **_kwargs: object
) -> None:
    """Weave each planned migration once; a receiver of ``pre_migrate``.

    The signal is sent once per app, each time with the same plan.
    """
    new = [step for step in plan if not hasattr(step[0], _WOVEN)]
    if not new or not conf.get("ENABLED") or connections[using].vendor != "postgresql":
        return
    if phases.settings_hooks_on():
        phases.validate(new, using)
    for migration, _backwards in new:
        weave(migration)


def weave(migration: Migration) -> None:
    """Shadow ``apply`` and ``unapply`` of this instance; a second call changes nothing."""
    if hasattr(migration, _WOVEN):
        return
    setattr(migration, _WOVEN, True)
    migration.apply = _woven(migration, migration.apply, "forward")  # type: ignore[method-assign]
    migration.unapply = _woven(migration, migration.unapply, "backward")  # type: ignore[method-assign]


def _woven(migration: Migration, step: Step, direction: Direction) -> Step:
    def run(
        project_state: ProjectState,
        schema_editor: BaseDatabaseSchemaEditor,
        collect_sql: bool = False,  # noqa: FBT001, FBT002 - Django's signature
    ) -> ProjectState:
        if collect_sql:
            return step(project_state, schema_editor, collect_sql)
        return MigrationRun(migration, schema_editor, direction).around(step, project_state)

    return run


class MigrationRun:
    """One run of one migration: its phases, in order, with each CLEANUP hook exactly once."""

    def __init__(
        self,
        migration: Migration,
        schema_editor: BaseDatabaseSchemaEditor,
        direction: Direction,
    ) -> None:
        self._migration = migration
        self._editor = schema_editor
        self._connection = schema_editor.connection
        self._direction = direction
        self._settings = timeouts.migrate_settings(self._connection)
        self._timeouts = timeouts.SessionTimeouts(self._connection, self._settings)
        self._hooks: dict[HookPhase, list[Hook]] = {}
        self._started = perf_counter()
        self._committed = False

    def around(self, step: Step, state: ProjectState) -> ProjectState:
        """Run the phases around ``step``, Django's own ``apply`` or ``unapply``."""
        self._new_context()
        self._before = self._models_before(state)
        self._send(signals.migration_started)
        if not self._editor.atomic_migration:
            return self._without_transaction(step, state)
        self._editor.atomic = _AfterExit(self._editor.atomic, self._ended)
        self._collect_hooks()
        return self._with_retries(step, state)

    def _without_transaction(self, step: Step, state: ProjectState) -> ProjectState:
        """Run a non-atomic migration: nobody but us sees it fail, and nothing is retried."""
        try:
            with self._timeouts.held():
                self._collect_hooks()
                after = self._phases(step, state)
        except BaseException as error:
            if self._settings.lock_retries and timeouts.is_lock_timeout(error):
                error.add_note("Not tried again: a part of a non-atomic migration may be committed.")
            self._ended(error)
            raise
        self._ended(None)
        return after

    def _with_retries(self, step: Step, state: ProjectState) -> ProjectState:
        """Run an atomic migration, again after a lock timeout as often as the settings say."""
        retries = self._settings.lock_retries
        pristine = state.clone() if retries else state
        deferred = list(self._editor.deferred_sql)
        for attempt in range(1, retries + 1):
            self._begin()
            timeouts.mark_attempt(self._connection)
            try:
                return self._phases(step, state)
            except Exception as error:
                if not timeouts.is_lock_timeout(error) or not self._may_retry(error):
                    raise
                self._start_over(attempt, error)
            self._editor.deferred_sql = list(deferred)
            state = pristine.clone()
        self._begin()
        return self._phases(step, state)

    def _begin(self) -> None:
        """Set what an attempt's transaction starts with."""
        self._timeouts.set()
        if not self._context.dry_run:
            transaction.on_commit(self._note_commit, using=self._connection.alias)

    def _may_retry(self, error: Exception) -> bool:
        if timeouts.nothing_committed(self._connection):
            return True
        error.add_note("Not tried again: the migration has ended its transaction by itself.")
        return False

    def _start_over(self, attempt: int, error: Exception) -> None:
        """Roll back, wait without holding anything, begin again."""
        delay = self._settings.delay(attempt)
        logger.warning(
            "lock_timeout_retry",
            extra={
                "migration": self._migration.name,
                "app_label": self._migration.app_label,
                "attempt": attempt,
                "delay_ms": round(delay * 1000),
                "error": " ".join(str(error).split()),
            },
        )
        self._editor.atomic.restart(error, lambda: time.sleep(delay))
        self._new_context()
        self._collect_hooks()

    def _phases(self, step: Step, state: ProjectState) -> ProjectState:
        self._context.set_apps(self._before)
        self._run(HookPhase.BEFORE_VALIDATION)
        self._run(HookPhase.BEFORE_DDL)
        after = step(state, self._editor)
        self._context.set_apps(lambda: after.apps)
        flush_deferred_sql(self._editor)
        self._run(HookPhase.AFTER_DDL)
        if self._hooks.get(HookPhase.AFTER_VALIDATION) and self._connection.in_atomic_block:
            check_deferred_constraints(self._connection)
        self._run(HookPhase.AFTER_VALIDATION)
        cleanup = self._hooks.get(HookPhase.CLEANUP, [])
        while cleanup:
            self._execute(HookPhase.CLEANUP, [cleanup.pop(0)])
        return after

    def _ended(self, error: BaseException | None) -> None:
        """After commit or rollback."""
        self._timeouts.restore()
        if error is None or self._committed:
            duration_ms = (perf_counter() - self._started) * 1000
            self._send(signals.migration_finished, duration_ms=duration_ms)
            return
        self._context.error = error
        self._context.set_apps(self._before)
        with ExitStack() as last:
            last.callback(self._send, signals.migration_failed, error=error)
            last.enter_context(self._timeouts.held())
            # Callbacks run in reverse, and all of them, should Ctrl-C end one.
            for phase in (HookPhase.CLEANUP, HookPhase.ON_ERROR):
                for hook in reversed(self._hooks.get(phase, [])):
                    last.callback(self._quietly, phase, hook)

    def _quietly(self, phase: HookPhase, hook: Hook) -> None:
        """A failure after the failure is logged and never hides the first."""
        try:
            self._execute(phase, [hook])
        except HookError:
            pass  # the executor has logged it
        except Exception:
            logger.exception("after_failure", extra={"migration": self._migration.name})

    def _run(self, phase: HookPhase) -> None:
        if hooks := self._hooks.get(phase):
            self._execute(phase, hooks)

    def _execute(self, phase: HookPhase, hooks: list[Hook]) -> None:
        if self._connection.connection is not None and self._connection.connection.closed:
            self._connection.close()  # so that Django connects again
        self._connection.ensure_connection()
        HookExecutor().execute_phase(self._connection.connection, phase, hooks, self._context)

    def _collect_hooks(self) -> None:
        """Take the settings' hooks, and those of the file that run at its end."""
        alias = self._connection.alias
        self._hooks = {}
        from_settings = phases.settings_hooks_on()
        planned = phases.hooks_from_settings(self._migration, alias) if from_settings else []
        for each in planned:
            self._hooks.setdefault(each.phase, []).append(each.hook)
        for each in phases.hooks_from_file(self._migration, alias):
            if each.phase in AROUND:
                self._hooks.setdefault(each.phase, []).append(each.hook)

    def _new_context(self) -> None:
        """What an attempt that was rolled back has left in the context counts no more."""
        self._context = new_context(self._migration, self._connection, self._direction)
        attach_context(self._editor, self._context)

    def _models_before(self, state: ProjectState) -> Callable[[], Apps]:
        """Return what renders the models as they are before the migration runs.

        ``apply`` changes its state in place; ``unapply`` gets the state that it leads to.
        """
        if self._direction == "backward":
            return cache(lambda: self._migration.mutate_state(state, preserve=True).apps)
        return cache(lambda: state.apps)  # TODO

    def _note_commit(self) -> None:
        self._committed = True

    def _send(self, signal: Any, **facts: object) -> None:
        signal.send_robust(
            sender=signals.sender_for(self._migration.app_label),
            migration=self._migration,
            using=self._connection.alias,
            direction=self._direction,
            context=self._context,
            **facts,
        )


@dataclass
class _AfterExit:
    """The schema editor's ``atomic``, with a call after commit or rollback."""

    atomic: Any
    ended: Callable[[BaseException | None], None]

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.atomic.__exit__(kind, error, trace)
        except BaseException as at_commit:
            self.ended(at_commit)
            raise
        self.ended(error)

    def restart(self, error: Exception, meanwhile: Callable[[], None]) -> None:
        """Roll back and begin again, with nobody told."""
        self.atomic.__exit__(type(error), error, error.__traceback__)
        try:
            meanwhile()
        finally:
            self.atomic.__enter__()
