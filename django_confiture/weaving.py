"""``pre_migrate`` → each planned migration gets its phases.

The instances in the signal's plan are the very ones that Django's executor runs, so their
``apply`` and ``unapply`` are shadowed with wrappers that run the phases around the original.
Nothing of Django's is patched, and ``migrate`` is not overridden.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.db import connections

from django_confiture import conf, signals
from django_confiture.hooks.base import Direction, Hook, HookPhase
from django_confiture.hooks.executor import HookExecutor
from django_confiture.hooks.run import (
    attach_context,
    check_deferred_constraints,
    flush_deferred_sql,
    new_context,
    walk,
)
from django_confiture.operations import AROUND, RunHook

if TYPE_CHECKING:
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
    if not conf.get("ENABLED") or connections[using].vendor != "postgresql":
        return
    for migration, _backwards in plan:
        weave(migration)


def weave(migration: Migration) -> None:
    """Shadow ``apply`` and ``unapply`` of this instance; a second call changes nothing."""
    if getattr(migration, _WOVEN, False):
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
    """One run of one migration: its phases, in order, with CLEANUP exactly once."""

    def __init__(
        self,
        migration: Migration,
        schema_editor: BaseDatabaseSchemaEditor,
        direction: Direction,
    ) -> None:
        self._migration = migration
        self._editor = schema_editor
        self._connection = schema_editor.connection
        self._context = new_context(migration, self._connection, direction)
        self._hooks = planned_hooks(migration, schema_editor)
        self._cleaned = False
        self._started = perf_counter()

    def around(self, step: Step, state: ProjectState) -> ProjectState:
        """Run the phases around ``step``, Django's own ``apply`` or ``unapply``."""
        attach_context(self._editor, self._context)
        self._context.set_apps(lambda: state.apps)
        self._send(signals.migration_started)
        atomic = self._editor.atomic_migration
        if atomic:
            self._editor.atomic = _AfterExit(self._editor.atomic, self._ended)
        with self._failure_seen_here(active=not atomic):
            self._phase(HookPhase.BEFORE_VALIDATION)
            self._phase(HookPhase.BEFORE_DDL)
            after = step(state, self._editor)
            self._context.set_apps(lambda: after.apps)
            if self._hooks:
                flush_deferred_sql(self._editor)
            self._phase(HookPhase.AFTER_DDL)
            if atomic and self._hooks:
                check_deferred_constraints(self._connection)
            self._phase(HookPhase.AFTER_VALIDATION)
            self._cleanup()
        if not atomic:
            self._ended(None)
        return after

    @contextmanager
    def _failure_seen_here(self, *, active: bool) -> Iterator[None]:
        """See to ON_ERROR and CLEANUP where no transaction tells when it is rolled back."""
        try:
            yield
        except BaseException as error:
            if active:
                self._ended(error)
            raise

    def _ended(self, error: BaseException | None) -> None:
        """After commit or rollback."""
        if error is None:
            self._send(
                signals.migration_finished, duration_ms=(perf_counter() - self._started) * 1000
            )
            return
        self._context.error = error
        self._quietly(lambda: self._phase(HookPhase.ON_ERROR))
        self._quietly(self._cleanup)
        self._send(signals.migration_failed, error=error)

    def _cleanup(self) -> None:
        if not self._cleaned:
            self._cleaned = True
            self._phase(HookPhase.CLEANUP)

    def _quietly(self, action: Callable[[], None]) -> None:
        """A failure after the failure is logged and never hides the first."""
        try:
            action()
        except Exception:
            logger.exception("after_failure", extra={"migration": self._context.migration_name})

    def _phase(self, phase: HookPhase) -> None:
        if hooks := self._hooks.get(phase):
            self._connection.ensure_connection()
            HookExecutor().execute_phase(
                self._connection.connection, phase, hooks, self._context
            )

    def _send(self, signal: Any, **facts: object) -> None:
        signal.send_robust(
            sender=signals.sender_for(self._migration.app_label),
            migration=self._migration,
            using=self._connection.alias,
            direction=self._context.direction,
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


def planned_hooks(
    migration: Migration, schema_editor: BaseDatabaseSchemaEditor
) -> Mapping[HookPhase, list[Hook]]:
    """Return the hooks that wrap ``migration``: those of its file that run at its end."""
    hooks: dict[HookPhase, list[Hook]] = {}
    label = f"{migration.app_label}.{migration.name}"
    for operation in walk(migration.operations):
        if isinstance(operation, RunHook) and operation.allowed(schema_editor, migration.app_label):
            phase, hook = operation.build(label)
            if phase in AROUND:
                hooks.setdefault(phase, []).append(hook)
    return hooks
