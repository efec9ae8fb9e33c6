"""``pre_migrate`` → each planned migration gets its phases.

The instances in the signal's plan are the very ones that Django's executor runs, so their
``apply`` and ``unapply`` are shadowed with wrappers that run the phases around the original.
Nothing of Django's is patched, and ``migrate`` is not overridden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections

from django_confiture import conf
from django_confiture.dry_run_mark import in_dry_run
from django_confiture.hooks.context import runs_hooks
from django_confiture.migrate import phases, plan_session
from django_confiture.migrate.attempt_hooks import WovenMigration
from django_confiture.migrate.run import MigrationRun, Step

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.migration import Migration
    from django.db.migrations.state import ProjectState

_WOVEN = "_confiture_woven"


def weave_plan(
    *,
    using: str,
    plan: list[tuple[Migration, bool]],
    **kwargs: object,
) -> None:
    """Weave each planned migration once; called by the receiver of ``pre_migrate``.

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
    for entry in entries:
        entry.build()
    session = plan_session.open_session(connection, kwargs.get("apps"))
    session.check(new)
    if not in_dry_run(connection):
        _begin(session, plan, kwargs)
    labels = tuple(str(each) for each, _backwards in plan)
    for migration, _backwards in plan:
        weave(migration, entries, labels)


def _begin(
    session: plan_session.PlanSession,
    plan: list[tuple[Migration, bool]],
    kwargs: Mapping[str, Any],
) -> None:
    """Begin a real run of the plan, which may get shorter here."""
    session.begin()
    if not phases.creating_test_database():
        session.take_turn(plan, _printer(kwargs))
    session.prepare_journal(plan)
    session.start_watch(_terminal(kwargs))


def _printer(kwargs: Mapping[str, Any]) -> Callable[[str], object]:
    """Return what prints a line where ``migrate`` prints its own."""
    stdout: Any = kwargs.get("stdout")
    quiet = stdout is None or not kwargs.get("verbosity")

    def write(text: str) -> None:
        if not quiet:
            stdout.write(text)
            stdout.flush()

    return write


def _terminal(kwargs: Mapping[str, Any]) -> Any:
    """Return the stream of ``migrate``, if it is a terminal that shows a line per migration."""
    stdout: Any = kwargs.get("stdout")
    if stdout is None or kwargs.get("verbosity") != 1 or not stdout.isatty():
        return None
    return stdout


def end_plan(*, sender: object, using: str, **_: object) -> None:
    """Close the session of a plan that has run; called by the receiver of ``post_migrate``.

    That is sent for each app, and what other receivers do is part of the plan: the last one counts.
    """
    if sender is [each for each in apps.get_app_configs() if each.models_module is not None][-1]:
        plan_session.close_session(using)


def weave(
    migration: Migration, entries: Sequence[phases.PhaseEntry] = (), labels: tuple[str, ...] = ()
) -> None:
    """Shadow ``apply`` and ``unapply`` of this instance; a second call changes nothing.

    ``entries`` are from the settings, for the whole plan; ``labels`` are its migrations.
    """
    if hasattr(migration, _WOVEN):
        return
    setattr(migration, _WOVEN, True)
    forward = _woven(migration.apply, WovenMigration(migration, "forward", entries, labels))
    backward = _woven(migration.unapply, WovenMigration(migration, "backward", entries, labels))
    migration.apply, migration.unapply = forward, backward  # type: ignore[method-assign]


def _woven(step: Step, woven: WovenMigration) -> Step:
    def run(
        project_state: ProjectState,
        schema_editor: BaseDatabaseSchemaEditor,
        collect_sql: bool = False,  # noqa: FBT001, FBT002 - Django's signature
    ) -> ProjectState:
        if collect_sql:
            return step(project_state, schema_editor, collect_sql)
        session = plan_session.current_session(schema_editor.connection)
        if woven.direction == "forward":
            project_state = session.caught_up(project_state)
        run = MigrationRun(woven, schema_editor, session, project_state)
        with session.at_work():
            return run.around(step)

    return run
