"""What migration files import."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import router
from django.db.migrations.operations.base import Operation, OperationCategory

from django_confiture import conf
from django_confiture.hooks.base import Direction, Hook, HookPhase
from django_confiture.hooks.executor import HookExecutor
from django_confiture.hooks.registry import build_hook
from django_confiture.hooks.run import (
    attached_context,
    check_deferred_constraints,
    context_for_operation,
    flush_deferred_sql,
)

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import ProjectState

logger = logging.getLogger("django_confiture.hooks")

AFTER = (HookPhase.AFTER_DDL, HookPhase.AFTER_VALIDATION)
AROUND = (HookPhase.CLEANUP, HookPhase.ON_ERROR)


class RunHook(Operation):
    """Run a hook where it stands in the migration, in a savepoint of its own.

    ``hook`` is a registered name, a dotted path, or a ``Hook`` subclass. ``phase`` defaults to
    the hook's own: a hook of AFTER_DDL or AFTER_VALIDATION runs after the deferred SQL (foreign
    keys and indexes of new tables), one of AFTER_VALIDATION after the deferred constraints were
    checked too; one of CLEANUP or ON_ERROR runs at the end of the migration. ``options`` go over
    those in settings. ``hints`` are passed to the database routers.
    """

    reduces_to_sql = False
    reversible = True
    category = OperationCategory.PYTHON

    def __init__(
        self,
        hook: str | type[Hook],
        *,
        phase: HookPhase | str | None = None,
        options: Mapping[str, Any] | None = None,
        elidable: bool = False,
        hints: Mapping[str, Any] | None = None,
    ) -> None:
        self.hook = hook
        self.phase = _phase(phase)
        self.options = dict(options or {})
        self.elidable = elidable
        self.hints = dict(hints or {})

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what ``makemigrations`` and ``squashmigrations`` write into a file."""
        given = {
            "phase": self.phase,
            "options": self.options,
            "elidable": self.elidable,
            "hints": self.hints,
        }
        kwargs = {name: value for name, value in given.items() if value}
        return self.__class__.__qualname__, [self.hook], kwargs

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Do nothing: a hook changes data, never the models."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the hook, if it handles ``"forward"``."""
        self._run(app_label, schema_editor, from_state, "forward")

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the hook, if it handles ``"backward"``."""
        self._run(app_label, schema_editor, from_state, "backward")

    def describe(self) -> str:
        """Say what ``migrate --plan`` and ``sqlmigrate`` print."""
        phase = f" ({self.phase.name})" if self.phase else ""
        return f"Run hook {self.hook_name}{phase}"

    @property
    def hook_name(self) -> str:
        """The name or path as given, or the class's name."""
        return self.hook if isinstance(self.hook, str) else getattr(self.hook, "__name__", "?")

    @property
    def migration_name_fragment(self) -> str:
        """The part of a generated file name that stands for this operation."""
        return f"run_hook_{self.hook_name.rpartition('.')[2].lower()}"

    def build(self, migration: str) -> tuple[HookPhase, Hook]:
        """Return the phase and the hook with its options; errors name ``migration``."""
        phase = f" in phase {self.phase.name}" if self.phase else ""
        hook = build_hook(
            self.hook, self.options, where=f"Migration {migration}, RunHook({self._shown}){phase}"
        )
        return self.phase or hook.phase, hook

    @property
    def _shown(self) -> str:
        return repr(self.hook) if isinstance(self.hook, str) else self.hook_name

    def allowed(self, schema_editor: BaseDatabaseSchemaEditor, app_label: str) -> bool:
        """Say whether hooks are on, and the routers and the database let this one run."""
        connection = schema_editor.connection
        if not conf.get("ENABLED") or not router.allow_migrate(
            connection.alias, app_label, **self.hints
        ):
            return False
        if connection.vendor != "postgresql":
            logger.warning(
                "Hook %s was skipped: the database %r is %s, and hooks need PostgreSQL.",
                self.hook_name,
                connection.alias,
                connection.vendor,
            )
            return False
        return True

    def _run(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        state: ProjectState,
        direction: Direction,
    ) -> None:
        if not self.allowed(schema_editor, app_label):
            return
        woven = attached_context(schema_editor) is not None
        context = context_for_operation(schema_editor, app_label, self, direction)
        phase, hook = self.build(context.label)
        if phase in AROUND and woven:
            return  # runs when the migration ends
        if phase is HookPhase.ON_ERROR:
            return  # nothing failed, and without weaving nobody can tell when it does
        connection = schema_editor.connection
        if phase in AFTER:
            flush_deferred_sql(schema_editor)
        if phase is HookPhase.AFTER_VALIDATION and connection.in_atomic_block:
            check_deferred_constraints(connection)
        state.clear_delayed_apps_cache()
        context.set_apps(lambda: state.apps)
        connection.ensure_connection()
        HookExecutor().execute_phase(connection.connection, phase, [hook], context)


def _phase(phase: HookPhase | str | None) -> HookPhase | None:
    if phase is None or isinstance(phase, HookPhase):
        return phase
    try:
        return HookPhase[phase]
    except KeyError:
        names = ", ".join(HookPhase.__members__)
        raise ValueError(f"RunHook(phase={phase!r}): use one of {names}.") from None
