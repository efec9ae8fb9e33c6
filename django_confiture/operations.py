"""Migration operations: ``RunHook``, and what else migration files import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import router
from django.db.migrations.operations.base import Operation, OperationCategory

from django_confiture import conf
from django_confiture.backfills.operations import RequireBackfill, StartBackfill
from django_confiture.exceptions import HookLookupError
from django_confiture.hooks.base import (
    PHASES_AFTER,
    PHASES_AT_END,
    Direction,
    Hook,
    HookPhase,
    HookPolicy,
)
from django_confiture.hooks.context import attached_context, context_for_operation, runs_hooks
from django_confiture.hooks.deferred_sql import check_deferred_constraints, flush_deferred_sql
from django_confiture.hooks.executor import HookExecutor
from django_confiture.hooks.registry import build_hook

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import ProjectState

__all__ = ["RequireBackfill", "RunHook", "StartBackfill"]


class RunHook(Operation):
    """Run a hook at its place in the migration, in its own savepoint.

    ``hook`` is a registered name, a dotted path, or a ``Hook`` subclass. ``phase`` defaults to
    the hook's own: a hook of AFTER_DDL or AFTER_VALIDATION runs after the deferred SQL (foreign
    keys and indexes of new tables), one of AFTER_VALIDATION after the deferred constraints were
    checked too; one of CLEANUP or ON_ERROR runs at the end of the migration. ``options`` override
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
        self.options = dict(_mapping("options", options))
        self.elidable = elidable  # type: ignore[misc]  # RunPython does the same
        self.hints = dict(_mapping("hints", hints))

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
        to_state: ProjectState,  # noqa: ARG002 - Django's signature
    ) -> None:
        """Run the hook, if it handles ``"forward"``."""
        self._run_hook(app_label, schema_editor, from_state, "forward")

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,  # noqa: ARG002 - Django's signature
    ) -> None:
        """Run the hook, if it handles ``"backward"``."""
        self._run_hook(app_label, schema_editor, from_state, "backward")

    def describe(self) -> str:
        """Return the line that ``migrate --plan`` and ``sqlmigrate`` print."""
        phase = f" ({self.phase.name})" if self.phase else ""
        return f"Run hook {self.hook_name}{phase}"

    @property
    def hook_name(self) -> str:
        """The name or path as given, or the class's name."""
        hook: object = self.hook
        return hook if isinstance(hook, str) else getattr(hook, "__name__", repr(hook))

    @property
    def migration_name_fragment(self) -> str:
        """The part of a generated file name that stands for this operation."""
        return f"run_hook_{self.hook_name.rpartition('.')[2].lower()}"

    def build(self, migration: str) -> tuple[HookPhase, Hook]:
        """Return the phase and the hook with its options; errors name ``migration``."""
        shown = repr(self.hook) if isinstance(self.hook, str) else self.hook_name
        in_phase = f"in phase {self.phase.name}" if self.phase else "in the hook's own phase"
        where = f"Migration {migration}, RunHook({shown}) {in_phase}"
        hook = build_hook(self.hook, self.options, where=where)
        phase = self.phase or getattr(hook, "phase", None)
        if phase is None:
            raise HookLookupError(
                f"{where}: {type(hook).__name__} sets no phase",
                "Write phase = HookPhase.AFTER_DDL in the class, "
                "or RunHook(..., phase=HookPhase.AFTER_DDL).",
            )
        return phase, hook

    def allowed(self, schema_editor: BaseDatabaseSchemaEditor, app_label: str) -> bool:
        """Return whether the routers and the database let this hook run."""
        connection = schema_editor.connection
        return router.allow_migrate(connection.alias, app_label, **self.hints) and runs_hooks(
            connection
        )

    def _run_hook(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        state: ProjectState,
        direction: Direction,
    ) -> None:
        if schema_editor.collect_sql:  # sqlmigrate, which enters SeparateDatabaseAndState
            schema_editor.collected_sql.append(f"-- {self.describe()}: no SQL")
            return
        if not self.allowed(schema_editor, app_label):
            return
        woven = attached_context(schema_editor) is not None
        context = context_for_operation(schema_editor, app_label, self, direction)
        phase, hook = self.build(context.label)
        if phase in PHASES_AT_END and woven:
            return  # runs when the migration ends
        if reason := _reason_to_skip(phase, woven=woven):
            HookExecutor().skip(phase, type(hook).__name__, context, reason)
            return
        connection = schema_editor.connection
        if not HookPolicy.of(hook).reason_to_skip(context):
            self._finish_ddl(phase, schema_editor)
        state.clear_delayed_apps_cache()
        context.set_apps(lambda: state.apps)
        connection.ensure_connection()
        HookExecutor().execute_phase(connection.connection, phase, [hook], context)

    @staticmethod
    def _finish_ddl(phase: HookPhase, schema_editor: BaseDatabaseSchemaEditor) -> None:
        """Run the deferred SQL and checks that a phase named "after" promises to follow."""
        if phase in PHASES_AFTER:
            flush_deferred_sql(schema_editor)
        if phase is HookPhase.AFTER_VALIDATION and schema_editor.connection.in_atomic_block:
            check_deferred_constraints(schema_editor.connection)


def _reason_to_skip(phase: HookPhase, *, woven: bool) -> str:
    if not conf.get("ENABLED"):
        return 'CONFITURE["ENABLED"] is False'
    if phase is HookPhase.ON_ERROR and not woven:
        return "without pre_migrate, we can't know when the migration fails"
    return ""


def _mapping(argument: str, value: object) -> Mapping[str, Any]:
    if value is None or isinstance(value, Mapping):
        return value or {}
    raise TypeError(f"RunHook({argument}={value!r}): write a dictionary.")


def _phase(phase: object) -> HookPhase | None:
    if phase is None or isinstance(phase, HookPhase):
        return phase
    if isinstance(phase, str) and phase in HookPhase.__members__:
        return HookPhase[phase]
    names = ", ".join(HookPhase.__members__)
    raise ValueError(f"RunHook(phase={phase!r}): use one of {names}.")
