"""Django's executor, which records what it applies and unapplies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.deploy_watch import Releases
from django_confiture.dry_run.operation_boundaries import recorded_step
from django_confiture.dry_run.plan.planned import Planned
from django_confiture.dry_run.plan.reader import read_plan, state_after
from django_confiture.dry_run.server.driver import applied_state
from django_confiture.migrate.states import copy_of

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration

    from django_confiture.dry_run.rehearsal import Rehearsal

_RECORDED = "_confiture_recorded"


def executor_of(rehearsal: Rehearsal, using: str, connection: Any, *args: Any) -> MigrationExecutor:
    """Return what ``migrate`` runs a plan with: on another alias than ``using``, Django's own.

    A receiver or a migration may call ``migrate`` for another one, whose migrations are not those
    of this report.
    """
    if connection.alias == using:
        return RehearsalExecutor(rehearsal, connection, *args)
    rehearsal.note(
        f"migrate was called for the database {connection.alias!r} meanwhile. That is rolled back "
        f"too, and is not in this report: rehearse it with --database {connection.alias}."
    )
    return MigrationExecutor(connection, *args)


class RehearsalExecutor(MigrationExecutor):
    """Django's executor, which records each migration and each operation."""

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
        start = copy_of(kwargs.get("state") or self.project_state()) if plan else ProjectState()
        end = super().migrate(targets, plan, *args, **kwargs)
        self._rehearsal.plan_ended(start, end)
        return end

    def look_ahead(
        self,
        plan: Sequence[tuple[Migration, bool]],
        state: ProjectState | None = None,
        *,
        code_first: bool = False,
    ) -> None:
        """Show the rehearsal what the plan will touch; it starts from ``state``.

        ``code_first`` says that the code which knows the plan's end is what runs.
        """
        if plan:
            self._rehearsal.look_ahead(
                partial(self._read_plan, plan, state),
                partial(self._releases, plan, state, code_first=code_first),
            )

    def _releases(
        self,
        plan: Sequence[tuple[Migration, bool]],
        state: ProjectState | None,
        *,
        code_first: bool,
    ) -> Releases:
        """Return the models that are in use, mostly those at the plan's start, and at its end."""
        old = state if state is not None and not plan[0][1] else self.project_state()
        if not plan[0][1]:
            migrations = [migration for migration, _backwards in plan]
            new = state_after(self.connection, old, migrations)
            return Releases(new if code_first else old, new)
        loader: Any = self.loader
        undone = {(each.app_label, each.name) for each, _backwards in plan}
        full = super().migration_plan(loader.graph.leaf_nodes(), clean_start=True)
        left = loader.applied_migrations.keys() - undone
        kept = [each for each, _backwards in full if (each.app_label, each.name) in left]
        start = ProjectState(real_apps=set(loader.unmigrated_apps))
        return Releases(old, state_after(self.connection, start, kept))

    def _read_plan(
        self, plan: Sequence[tuple[Migration, bool]], state: ProjectState | None
    ) -> Planned:
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

    def detect_soft_applied(
        self, project_state: ProjectState | None, migration: Migration
    ) -> tuple[bool, ProjectState]:
        """Look as Django does for ``--fake-initial``, and say which migration is not run."""
        found: tuple[bool, ProjectState] = super().detect_soft_applied(project_state, migration)
        if found[0]:
            self._rehearsal.note(
                f"{migration} was only recorded as applied (--fake-initial): what it would create "
                "exists already, and whether that is what it describes was not looked at."
            )
        return found

    def project_state(self) -> ProjectState:
        """Return the state after all applied migrations."""
        return applied_state(self)

    def record(self, migration: Migration) -> None:
        """Shadow ``apply`` and ``unapply`` of this instance with recorded ones, until the end."""
        if getattr(migration, _RECORDED, None) is self._rehearsal:
            return
        self._rehearsal.restore_at_end(migration)
        for name in [name for name in vars(migration) if name.startswith("_confiture")]:
            delattr(migration, name)  # woven for a real run; it gets woven again for this one
        for name in ("apply", "unapply"):
            vars(migration).pop(name, None)
        setattr(migration, _RECORDED, self._rehearsal)
        for name in ("apply", "unapply"):
            original = getattr(migration, name)
            setattr(migration, name, partial(recorded_step, self._rehearsal, migration, original))
