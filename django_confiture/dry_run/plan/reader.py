"""Reads from a plan's operations what it will touch, before anything runs.

The operations are walked as Django walks them, on a copy of the state without rendered models: a
few milliseconds for hundreds of migrations.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from django.contrib.postgres import operations as postgres
from django.db import router
from django.db.migrations import operations as ops
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.utils import get_references
from django.db.models import NOT_PROVIDED

from django_confiture.dry_run.plan import lock_estimate
from django_confiture.dry_run.plan.model_tables import Key, ModelTables, is_managed
from django_confiture.dry_run.plan.operation_targets import (
    column_name,
    fields_with_relations,
    in_database,
    models_of,
    reaches_referrers,
)
from django_confiture.dry_run.plan.planned import Fill, Planned
from django_confiture.dry_run.sql.parsing.parser import Statement, parse
from django_confiture.exceptions import HookLookupError
from django_confiture.hooks.nested_operations import walk_operations
from django_confiture.migrate import phases
from django_confiture.migrate.states import copy_of
from django_confiture.operations import RunHook

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.state import ModelState
    from django.db.models import Field

Script = str | list[Any] | tuple[Any, ...]

_STATE_ALONE = (ops.AlterModelOptions, ops.AlterModelManagers)
_NO_TABLE = (postgres.CreateExtension, postgres.CollationOperation)


class PlanWalk:
    """Reads the operations of migrations, one after the other; ``state`` is changed on the way."""

    def __init__(self, wrapper: BaseDatabaseWrapper, state: ProjectState) -> None:
        self._alias = wrapper.alias
        self._quote = wrapper.ops.quote_name
        self._tables = ModelTables(wrapper.ops)
        self._state = state
        self._migration = ""
        self._touched: dict[str, None] = {}
        self._statements: list[Statement] = []
        self._fills: list[Fill] = []
        self._unknown: Counter[str] = Counter()
        self._unreadable: set[Operation | None] = set()
        self._new_locks = 0

    def planned(self) -> Planned:
        """Return what the migrations that were read will touch."""
        return Planned(
            tuple(self._touched),
            tuple(self._statements),
            tuple(self._fills),
            dict(self._unknown + Counter({"unreadable operation": len(self._unreadable)})),
            self._new_locks,
        )

    def migration(self, migration: Migration, *, backwards: bool = False) -> None:
        """Read one migration of the plan."""
        self._migration = str(migration)
        own = type(migration).unapply if backwards else type(migration).apply
        if own not in (Migration.apply, Migration.unapply):
            self._unknown["custom migration"] += 1
        for operation in migration.operations:
            self._operation(operation, migration.app_label, backwards=backwards)
        if hooks := self._hooks(migration, backwards=backwards):
            self._unknown["hook"] += hooks

    def note_unreadable(self, operation: Operation | None = None) -> None:
        """Note an operation that raised when it was read."""
        self._unreadable.add(operation)

    def pass_by(self, migration: Migration) -> None:
        """Change the state as a migration outside the plan does."""
        for operation in migration.operations:
            self._advance(operation, migration.app_label)

    def _advance(self, operation: Operation, app_label: str) -> None:
        for each in _with_state_operations(operation):
            if isinstance(each, ops.RenameField):
                self._detach(each, (app_label, each.model_name_lower))
        operation.state_forwards(app_label, self._state)

    def _detach(self, operation: ops.RenameField, key: Key) -> None:
        """Copy the fields that Django renames in place: operations still to run own them."""
        model = self._state.models.get(key)
        if model is None or operation.old_name not in model.fields:
            return  # which makes Django raise
        renamed = (operation.old_name, model.fields[operation.old_name])
        for referring, name, each, _reference in [*get_references(self._state, key, renamed)]:
            referring.fields[name] = each.clone()
        model.fields = {name: copy.copy(each) for name, each in model.fields.items()}

    def _operation(self, operation: Operation, app_label: str, *, backwards: bool) -> None:
        if isinstance(operation, ops.SeparateDatabaseAndState):
            self._separate(operation, app_label, backwards=backwards)
        elif isinstance(operation, ops.RunSQL):
            script = operation.reverse_sql if backwards else operation.sql
            if router.allow_migrate(self._alias, app_label, **operation.hints):
                self._script(cast("Script", script or ""))
        elif isinstance(operation, RunHook):
            pass  # counted with the hooks from the settings
        elif isinstance(operation, ops.RunPython):
            code = operation.reverse_code if backwards else operation.code
            if code is not ops.RunPython.noop:
                self._unknown["RunPython"] += 1
        elif not isinstance(operation, (*_STATE_ALONE, *_NO_TABLE)):
            self._schema(operation, app_label, backwards=backwards)
            return
        self._advance(operation, app_label)

    def _separate(
        self, operation: ops.SeparateDatabaseAndState, app_label: str, *, backwards: bool
    ) -> None:
        """Read the operations for the database with their own state, as Django does."""
        outer = self._state
        if operation.database_operations:
            self._state = copy_of(outer)
            for each in operation.database_operations:
                self._operation(each, app_label, backwards=backwards)
        self._state = outer

    def _script(self, script: Script) -> None:
        """Read what ``RunSQL`` takes: a text, or a list of texts and (text, parameters)."""
        for each in [script] if isinstance(script, str) else script:
            text, params = (each, None) if isinstance(each, str) else each
            statements = parse(str(text), placeholders=params is not None)
            self._statements += statements
            self._new_locks += sum(map(lock_estimate.of_statement, statements))

    # Operations on models.

    def _schema(self, operation: Operation, app_label: str, *, backwards: bool) -> None:
        if not type(operation).database_forwards.__module__.startswith("django."):
            self._unknown["custom operation"] += 1
        old, new = models_of(operation)
        before = self._look(operation, (app_label, old)) if old else _Seen()
        self._advance(operation, app_label)
        after = self._look(operation, (app_label, new)) if new else _Seen()
        try:
            self._note_schema(operation, before, after, backwards=backwards)
        except Exception:  # noqa: BLE001 - what it raises for real, it will raise in its turn
            self.note_unreadable(operation)

    def _note_schema(
        self, operation: Operation, before: _Seen, after: _Seen, *, backwards: bool
    ) -> None:
        if not (before.managed or after.managed) or _changes_nothing(operation, before, after):
            return
        for name in (*before.tables, *after.tables):
            self._touched.setdefault(name)
        start, end = (after, before) if backwards else (before, after)
        self._new_locks += lock_estimate.of_operation(operation, start.model, end.model)
        if isinstance(operation, ops.AlterField):
            self._fill(operation, start, end, backwards=backwards)

    def _look(self, operation: Operation, key: Key) -> _Seen:
        """Return the model as it is now, and the tables that the operation locks for it."""
        try:
            return self._seen(operation, key)
        except Exception:  # noqa: BLE001 - a field of the project's own; its state is known
            self.note_unreadable(operation)
            return _Seen()

    def _seen(self, operation: Operation, key: Key) -> _Seen:
        model = self._state.models.get(key)
        table = self._tables.of(self._state, key)
        if model is None or table is None:
            return _Seen()
        allowed = router.allow_migrate(self._alias, key[0], model_name=key[1])
        if not allowed or not is_managed(model):
            return _Seen()
        tables = [table]
        for name, each in fields_with_relations(operation, model):
            tables += self._tables.of_field(self._state, key, name, each)
        if reaches_referrers(operation, model):
            tables += self._tables.of_referrers(self._state, key)
        snapshot = copy.copy(model)
        snapshot.fields, snapshot.options = dict(model.fields), dict(model.options)
        return _Seen(snapshot, table, tables, managed=True)

    def _fill(
        self, operation: ops.AlterField, start: _Seen, end: _Seen, *, backwards: bool
    ) -> None:
        old, new = start.field(operation.name), end.field(operation.name)
        if old is None or new is None or not old.null or new.null or old.many_to_many:
            return
        # After the operation the state may know of no default any more.
        given = new if backwards else operation.field
        if given.has_default() or getattr(given, "db_default", NOT_PROVIDED) is not NOT_PROVIDED:
            column = self._quote(column_name(operation.name, old))
            self._fills.append(Fill(start.table, column))

    # Hooks.

    @cached_property
    def _entries(self) -> Sequence[phases.PhaseEntry]:
        return list(phases.read_entries())

    def _hooks(self, migration: Migration, *, backwards: bool) -> int:
        direction = "backward" if backwards else "forward"
        try:
            wrapped = phases.hooks_from_settings(migration, self._alias, self._entries)
            found = [each.hook for each in wrapped] if phases.settings_hooks_on() else []
            found += [
                operation.build(self._migration)[1]
                for operation in walk_operations(migration.operations)
                if isinstance(operation, RunHook)
            ]
        except HookLookupError:
            return 0  # the migration itself will say so
        return sum(each.runs_in_dry_run and direction in each.directions for each in found)


def read_plan(
    wrapper: BaseDatabaseWrapper,
    state: ProjectState,
    steps: Iterable[tuple[Migration, bool]],
    *,
    backwards: bool,
) -> Planned:
    """Read migrations in the order of their states; a step says whether it is in the plan."""
    walk = PlanWalk(wrapper, state)
    try:
        for migration, planned in steps:
            if planned:
                walk.migration(migration, backwards=backwards)
            else:
                walk.pass_by(migration)
    except Exception:  # noqa: BLE001 - whatever an operation raises, it will raise again in its turn
        walk.note_unreadable()
    return walk.planned()


def state_after(
    wrapper: BaseDatabaseWrapper, state: ProjectState, migrations: Iterable[Migration]
) -> ProjectState:
    """Return a copy of a state as it is after migrations; raises what their operations raise."""
    copied = copy_of(state)
    walk = PlanWalk(wrapper, copied)
    for migration in migrations:
        walk.pass_by(migration)
    return copied


@dataclass(frozen=True)
class _Seen:
    """A model before or after an operation; ``table`` and ``tables`` are quoted names."""

    model: ModelState | None = None
    table: str = ""
    tables: Iterable[str] = ()
    managed: bool = False

    def field(self, name: str) -> Field[Any, Any] | None:
        """Return the model's field of that name."""
        return None if self.model is None else self.model.fields.get(name)


def _with_state_operations(operation: Operation) -> list[Operation]:
    inner = getattr(operation, "state_operations", ())
    return [operation, *(found for each in inner for found in _with_state_operations(each))]


def _changes_nothing(operation: Operation, before: _Seen, after: _Seen) -> bool:
    """Return whether an operation alters only what no database stores, such as a help text."""
    if not isinstance(operation, ops.AlterField):
        return False
    old, new = before.field(operation.name), after.field(operation.name)
    return old is not None and new is not None and in_database(old) == in_database(new)
