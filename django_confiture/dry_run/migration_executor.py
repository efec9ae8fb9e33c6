"""Django's executor, which records what it applies and unapplies."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.plan.model_tables import copy_of
from django_confiture.dry_run.plan.planned import Planned
from django_confiture.dry_run.plan.reader import read_plan
from django_confiture.dry_run.server.driver import applied_state
from django_confiture.hooks.deferred_sql import AROUND_DEFERRED, flush_deferred_sql

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.migration import Migration
    from django.db.migrations.operations.base import Operation

    from django_confiture.dry_run.recording.recorder import OpenOperation
    from django_confiture.dry_run.rehearsal import Rehearsal

_RECORDED = "_confiture_recorded"


class RehearsalExecutor(MigrationExecutor):
    """Django's executor, with each migration and each operation recorded."""

    def __init__(self, rehearsal: Rehearsal, connection: Any, *args: Any) -> None:
        super().__init__(connection, *args)
        self._rehearsal = rehearsal

    def migration_plan(self, *args: Any, **kwargs: Any) -> list[tuple[Migration, bool]]:
        """Plan as Django does; recording goes in before ``pre_migrate``, so inside the weaving."""
        plan = super().migration_plan(*args, **kwargs)
        if not kwargs.get("clean_start"):
            plan = self._rehearsal.chosen(plan)
        for migration, _backwards in plan:
            self.record(migration)
        return plan

    def migrate(
        self,
        targets: Any,
        plan: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> ProjectState:
        """Migrate as Django does, once the report knows the plan."""
        self._rehearsal.planned(plan or [])
        self.look_ahead(plan or [], kwargs.get("state"))
        return super().migrate(targets, plan, *args, **kwargs)

    def look_ahead(
        self, plan: Sequence[tuple[Migration, bool]], state: ProjectState | None = None
    ) -> None:
        """Let the rehearsal see what the plan will touch; ``state`` is the one to start from."""
        if plan:
            self._rehearsal.look_ahead(partial(self._read, plan, state))

    def _read(self, plan: Sequence[tuple[Migration, bool]], state: ProjectState | None) -> Planned:
        if not plan[0][1]:
            steps = [(migration, True) for migration, _backwards in plan]
            start = copy_of(state if state is not None else self.project_state())
            return read_plan(self.connection, start, steps, backwards=False)
        loader: Any = self.loader
        applied = {loader.graph.nodes.get(key) for key in loader.applied_migrations}
        undone = {migration for migration, _backwards in plan}
        full = super().migration_plan(loader.graph.leaf_nodes(), clean_start=True)
        steps = [(each, each in undone) for each, _backwards in full if each in applied]
        start = ProjectState(real_apps=set(loader.unmigrated_apps))
        return read_plan(self.connection, start, steps, backwards=True)

    def apply_migration(
        self, state: ProjectState, migration: Migration, *args: Any, **kwargs: Any
    ) -> ProjectState:
        """Apply one migration, its commit and its record in ``django_migrations`` included."""
        with self._rehearsal.migration(migration, "forward"):
            return super().apply_migration(state, migration, *args, **kwargs)

    def unapply_migration(
        self, state: ProjectState, migration: Migration, *args: Any, **kwargs: Any
    ) -> ProjectState:
        """Unapply one migration."""
        with self._rehearsal.migration(migration, "backward"):
            return super().unapply_migration(state, migration, *args, **kwargs)

    def project_state(self) -> ProjectState:
        """Return the state after all applied migrations."""
        return applied_state(self)

    def record(self, migration: Migration) -> None:
        """Shadow ``apply`` and ``unapply`` of this instance with recorded ones, until the end."""
        if getattr(migration, _RECORDED, None) is self._rehearsal:
            return
        self._rehearsal.restore_at_end(migration)
        for name in [name for name in vars(migration) if name.startswith("_confiture")]:
            delattr(migration, name)  # woven for a real run; it is woven anew for this one
        for name in ("apply", "unapply"):
            vars(migration).pop(name, None)
        setattr(migration, _RECORDED, self._rehearsal)
        for name, step in (("apply", _apply), ("unapply", _unapply)):
            original = getattr(migration, name)
            setattr(migration, name, partial(_recorded, self._rehearsal, migration, original, step))


Step = Callable[
    ["Rehearsal", "Migration", "ProjectState", "BaseDatabaseSchemaEditor", "_Deferred"],
    "ProjectState",
]


class _Deferred:
    """Remembers which operation left which deferred SQL."""

    def __init__(self, rehearsal: Rehearsal, editor: BaseDatabaseSchemaEditor) -> None:
        self._rehearsal = rehearsal
        self._editor = editor
        self._origins: dict[int, tuple[Any, OpenOperation]] = {}

    def note(self, record: OpenOperation) -> None:
        for statement in self._editor.deferred_sql:
            self._origins.setdefault(id(statement), (statement, record))

    def around(self, statement: Any) -> Any:
        origin = self._origins.get(id(statement))
        return self._rehearsal.deferred(origin[1] if origin is not None else None)


def _recorded(
    rehearsal: Rehearsal,
    migration: Migration,
    original: Callable[..., ProjectState],
    step: Step,
    project_state: ProjectState,
    schema_editor: BaseDatabaseSchemaEditor,
    collect_sql: bool = False,  # noqa: FBT001, FBT002 - Django's signature
) -> ProjectState:
    if collect_sql:
        return original(project_state, schema_editor, collect_sql)
    deferred = _Deferred(rehearsal, schema_editor)
    setattr(schema_editor, AROUND_DEFERRED, deferred.around)
    state = step(rehearsal, migration, project_state, schema_editor, deferred)
    flush_deferred_sql(schema_editor)
    return state


def _apply(
    rehearsal: Rehearsal,
    migration: Migration,
    state: ProjectState,
    editor: BaseDatabaseSchemaEditor,
    deferred: _Deferred,
) -> ProjectState:
    for index, operation in enumerate(migration.operations):
        with rehearsal.operation(index, operation) as record:
            state = _only(migration, operation).apply(state, editor)
        deferred.note(record)
    return state


def _unapply(
    rehearsal: Rehearsal,
    migration: Migration,
    state: ProjectState,
    editor: BaseDatabaseSchemaEditor,
    deferred: _Deferred,
) -> ProjectState:
    before = []
    current = state
    for index, operation in enumerate(migration.operations):
        if not operation.reversible:
            with rehearsal.operation(index, operation):
                raise IrreversibleError(f"Operation {operation} in {migration} is not reversible")
        before.append((index, operation, current))
        current = _only(migration, operation).mutate_state(current, preserve=True)
    for index, operation, earlier in reversed(before):
        with rehearsal.operation(index, operation) as record:
            _only(migration, operation).unapply(earlier, editor)
        deferred.note(record)
    return state


def _only(migration: Migration, operation: Operation) -> Migration:
    """Return a copy that holds one operation, so that Django's own rules apply to it."""
    single = copy.copy(migration)
    for name in ("apply", "unapply"):
        single.__dict__.pop(name, None)
    single.__dict__["operations"] = [operation]
    return single
