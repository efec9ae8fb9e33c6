"""Removes from the plan of a ``migrate`` what another one has applied while it waited.

Django computes plan and project state before it sends ``pre_migrate``. The plan in the signal is
the list that the executor runs, so it can be shortened there; the state can't, so the first
migration that still runs catches up with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from django_confiture.exceptions import MigrateRefused

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.migration import Migration
    from django.db.migrations.state import ProjectState

Key = tuple[str, str]


def leave_out_what_is_done(
    plan: list[tuple[Migration, bool]], connection: BaseDatabaseWrapper, *, has_waited: bool
) -> list[tuple[Migration, bool]]:
    """Shorten ``plan`` in place; return the migrations taken out of it, in order."""
    applied = _applied(connection, with_replacements=has_waited)
    done: list[tuple[Migration, bool]] = []
    left: list[tuple[Migration, bool]] = []
    for step in plan:
        (done if _is_done(step[0], applied, backwards=step[1]) else left).append(step)
    if done:
        plan[:] = left
    if has_waited:
        _refuse_what_lacks_its_ground(plan, applied)
    return done


def _applied(connection: BaseDatabaseWrapper, *, with_replacements: bool) -> set[Key]:
    """Return the applied migrations; only the loader knows what that means for squashed ones."""
    if with_replacements:
        return set(MigrationLoader(connection).applied_migrations)
    return set(MigrationRecorder(connection).applied_migrations())


def _is_done(migration: Migration, applied: set[Key], *, backwards: bool) -> bool:
    own = (migration.app_label, migration.name)
    replaced = [(app_label, name) for app_label, name in migration.replaces]
    if backwards:
        return own not in applied and not any(each in applied for each in replaced)
    return own in applied or (bool(replaced) and all(each in applied for each in replaced))


def _refuse_what_lacks_its_ground(
    plan: Iterable[tuple[Migration, bool]], applied: set[Key]
) -> None:
    """Refuse to go on where another ``migrate`` has undone what a planned migration needs."""
    planned = [migration for migration, backwards in plan if not backwards]
    known = applied | {(each.app_label, each.name) for each in planned}
    for migration in planned:
        for app_label, name in migration.dependencies:
            if name.startswith("__") or (app_label, name) in known:
                continue
            raise MigrateRefused(
                f"{app_label}.{name}, which {migration.app_label}.{migration.name} needs, was "
                "undone by another migrate after this one had made its plan; run migrate again."
            )


def catch_up(state: ProjectState, migrations: Iterable[Migration]) -> ProjectState:
    """Return the project state after ``migrations``, which another ``migrate`` has applied."""
    caught_up: Any = state.clone()
    caught_up.__dict__.pop("apps", None)  # rendered when it is needed, as Django does itself
    for migration in migrations:
        caught_up = migration.mutate_state(caught_up, preserve=False)
    result: ProjectState = caught_up
    return result
