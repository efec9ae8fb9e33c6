"""Tells a migration's operations apart while Django applies it, in one call as ``migrate`` does.

``Migration.apply`` and ``unapply`` may be overridden: they may look at all operations, refuse some,
or write rows of their own. So they are called once, and the operations are told apart where
Django's loop calls them: ``database_forwards`` and ``database_backwards`` of each instance are
shadowed for the time of the call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError
from django.db.migrations.exceptions import IrreversibleError

from django_confiture.hooks.deferred_sql import AROUND_DEFERRED, flush_deferred_sql

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.migration import Migration
    from django.db.migrations.operations.base import Operation
    from django.db.migrations.state import ProjectState

    from django_confiture.dry_run.recording.recorder import OpenOperation
    from django_confiture.dry_run.rehearsal import Rehearsal

_METHODS = ("database_forwards", "database_backwards")


def recorded_step(
    rehearsal: Rehearsal,
    migration: Migration,
    original: Callable[..., ProjectState],
    project_state: ProjectState,
    schema_editor: BaseDatabaseSchemaEditor,
    collect_sql: bool = False,  # noqa: FBT001, FBT002 - Django's signature
) -> ProjectState:
    """Run ``original``, a migration's own ``apply`` or ``unapply``, with operations recorded."""
    if collect_sql:
        return original(project_state, schema_editor, collect_sql)
    boundaries = _Boundaries(rehearsal, migration)
    setattr(schema_editor, AROUND_DEFERRED, boundaries.around_deferred)
    with boundaries.told_apart():
        state = original(project_state, schema_editor)
    flush_deferred_sql(schema_editor)
    return state


class _Boundaries:
    """The operations of one migration while it is applied or unapplied."""

    def __init__(self, rehearsal: Rehearsal, migration: Migration) -> None:
        self._rehearsal = rehearsal
        self._migration = migration
        self._deferred: dict[int, tuple[Any, OpenOperation]] = {}
        self._committing: OpenOperation | None = None
        """The operation whose own transaction Django is about to commit."""

    @contextmanager
    def told_apart(self) -> Iterator[None]:
        """Record each operation apart from what runs around it."""
        indexes: defaultdict[int, list[int]] = defaultdict(list)
        for index, operation in enumerate(self._migration.operations):
            indexes[id(operation)].append(index)
        known = self._migration.operations
        operations = {id(each): each for each in known}.values()
        for operation in operations:
            for method in _METHODS:
                step = partial(self._run_operation, operation, getattr(operation, method), indexes)
                setattr(operation, method, step)
        try:
            yield
        except IrreversibleError as error:
            self._blame_irreversible(error)
            raise
        except DatabaseError:
            if self._committing is not None:
                with self._rehearsal.deferred(self._committing):
                    raise
            raise
        finally:
            if self._migration.operations is not known:
                vars(self._migration)["operations"] = known  # findings go by their indexes
            for operation in operations:
                for method in _METHODS:
                    vars(operation).pop(method, None)

    def _run_operation(
        self,
        operation: Operation,
        original: Callable[..., None],
        indexes: dict[int, list[int]],
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        *states: ProjectState,
    ) -> None:
        self._committing = None
        left = indexes[id(operation)]
        index = left.pop(0) if len(left) > 1 else left[0]
        router_watch = self._rehearsal.router_watch
        router_watch.start_operation()
        with self._rehearsal.operation(index, operation) as opened:
            original(app_label, schema_editor, *states)
            if (why := router_watch.why_skipped()) is not None:
                opened.note_skipped_by_router(why)
        for statement in schema_editor.deferred_sql:
            self._deferred.setdefault(id(statement), (statement, opened))
        if not schema_editor.atomic_migration and operation.atomic is not False:
            self._committing = opened

    def _blame_irreversible(self, error: IrreversibleError) -> None:
        """Note the operation that Django can't reverse, before it does anything."""
        for index, operation in enumerate(self._migration.operations):
            if not operation.reversible:
                with self._rehearsal.operation(index, operation):
                    raise error

    def around_deferred(self, statement: Any) -> AbstractContextManager[None]:
        """Record a deferred statement with the operation that left it."""
        origin = self._deferred.get(id(statement))
        return self._rehearsal.deferred(origin[1] if origin is not None else None)
