"""The hooks of one attempt at a migration: which run in which phase, and the context they share.

A migration that is tried again gets new hooks and a new context: nothing that a rolled-back attempt
has left in them counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from django_confiture.hooks.base import PHASES_AT_END, Direction, Hook, HookPhase
from django_confiture.hooks.context import attach_context, new_context
from django_confiture.hooks.executor import HookExecutor
from django_confiture.migrate import phases

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.migration import Migration


@dataclass(frozen=True)
class WovenMigration:
    """A migration of the plan in one direction, with what the settings say for the whole plan."""

    migration: Migration
    direction: Direction
    entries: Sequence[phases.PhaseEntry]
    plan: tuple[str, ...]
    """The labels of the plan's migrations."""


class AttemptHooks:
    """Runs the hooks of each phase; those of CLEANUP exactly once."""

    def __init__(self, woven: WovenMigration, schema_editor: BaseDatabaseSchemaEditor) -> None:
        self._woven = woven
        self._editor = schema_editor
        self._connection = schema_editor.connection
        self._hooks: dict[HookPhase, list[Hook]] = {}
        self.context = new_context(woven.migration, self._connection, woven.direction, woven.plan)
        attach_context(schema_editor, self.context)

    def collect(self) -> None:
        """Collect the hooks from the settings, and those from the file that run at its end."""
        migration, alias = self._woven.migration, self._connection.alias
        self._add(phases.hooks_from_settings(migration, alias, self._woven.entries))
        in_file = phases.hooks_from_file(migration, self._editor)
        self._add(planned for planned in in_file if planned.phase in PHASES_AT_END)

    def _add(self, planned: Iterable[phases.PlannedHook]) -> None:
        for each in planned:
            self._hooks.setdefault(each.phase, []).append(each.hook)

    def has(self, *any_of: HookPhase) -> bool:
        """Return whether a hook is left to run in one of the phases."""
        return any(self._hooks.get(phase) for phase in any_of)

    def run(self, phase: HookPhase) -> None:
        """Run the hooks of a phase together."""
        if hooks := self._hooks.get(phase):
            self._execute(phase, *hooks)

    def run_cleanup(self) -> None:
        """Run CLEANUP; what fails in here must not run again after the rollback."""
        cleanup = self._hooks.get(HookPhase.CLEANUP, [])
        while cleanup:
            self._execute(HookPhase.CLEANUP, cleanup.pop(0))

    def after_rollback(self) -> Iterator[Callable[[], None]]:
        """Yield a call for each hook that runs after a rollback."""
        for phase in (HookPhase.ON_ERROR, HookPhase.CLEANUP):
            for hook in self._hooks.get(phase, []):
                yield partial(self._execute, phase, hook)

    def _execute(self, phase: HookPhase, *hooks: Hook) -> None:
        self._connection.ensure_connection()
        HookExecutor().execute_phase(self._connection.connection, phase, hooks, self.context)
