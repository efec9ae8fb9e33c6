"""``pre_migrate`` → each planned migration gets its phases.

The instances in the signal's plan are the very ones that Django's executor runs, so their
``apply`` and ``unapply`` are shadowed with wrappers that run the phases around the original.
Nothing of Django's is patched, and ``migrate`` is not overridden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from django.db import connections

from django_confiture import conf
from django_confiture.hooks.base import Direction
from django_confiture.hooks.context import runs_hooks
from django_confiture.migrate import phases, plan_session
from django_confiture.migrate.run import MigrationRun

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.migration import Migration
    from django.db.migrations.state import ProjectState

_WOVEN = "_confiture_woven"

Step = Callable[..., "ProjectState"]


def weave_plan(*, plan: Sequence[tuple[Migration, bool]] = (), using: str, **_: object) -> None:
    """Weave each planned migration once; a receiver of ``pre_migrate``.

    The signal is sent once per app, each time with the same plan. Mistakes in the settings are
    raised here, before the first migration runs.
    """
    new = [migration for migration, _backwards in plan if not hasattr(migration, _WOVEN)]
    connection = connections[using]
    if not new or not conf.get("ENABLED"):
        return
    entries = phases.entries_for(new, using) if phases.settings_hooks_on() else []
    if connection.vendor != "postgresql":
        if entries:
            runs_hooks(connection)  # says so, once
        return
    plan_session.open_session(connection).check(new)
    for entry in entries:
        entry.build()
    for migration in new:
        weave(migration, entries)


def weave(migration: Migration, entries: Sequence[phases.Entry] = ()) -> None:
    """Shadow ``apply`` and ``unapply`` of this instance; a second call changes nothing.

    ``entries`` are those of the settings for the whole plan.
    """
    if hasattr(migration, _WOVEN):
        return
    setattr(migration, _WOVEN, True)
    migration.apply = _woven(migration, migration.apply, "forward", entries)  # type: ignore[method-assign]
    migration.unapply = _woven(migration, migration.unapply, "backward", entries)  # type: ignore[method-assign]


def _woven(
    migration: Migration, step: Step, direction: Direction, entries: Sequence[phases.Entry]
) -> Step:
    def run(
        project_state: ProjectState,
        schema_editor: BaseDatabaseSchemaEditor,
        collect_sql: bool = False,  # noqa: FBT001, FBT002 - Django's signature
    ) -> ProjectState:
        if collect_sql:
            return step(project_state, schema_editor, collect_sql)
        session = plan_session.current_session(schema_editor.connection)
        run = MigrationRun(migration, schema_editor, direction, session, entries)
        return run.around(step, project_state)

    return run
