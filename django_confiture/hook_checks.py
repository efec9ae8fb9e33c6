"""System checks of hooks, and of our own operations in migration files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import OperationCategory

from django_confiture.backfills.declared.declaration import declared_backfills, load_backfill
from django_confiture.backfills.operations import RequireBackfill, StartBackfill
from django_confiture.exceptions import BackfillLookupError, HookLookupError
from django_confiture.hooks.base import PHASES_BEFORE, Hook
from django_confiture.hooks.nested_operations import walk_operations
from django_confiture.migration_files import import_place
from django_confiture.operations import RunHook

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration
    from django.db.migrations.operations.base import Operation

_OPERATIONS = tuple(each.__name__ for each in (RunHook, StartBackfill, RequireBackfill))
"""What begins the text of an error in the arguments of one, be it Python's or ours."""

_SCHEMA = (OperationCategory.ADDITION, OperationCategory.REMOVAL, OperationCategory.ALTERATION)


def lookup_error(number: str, error: HookLookupError, obj: str) -> Error:
    """Return the message about a hook that cannot be found or used."""
    return Error(f"{error.problem}.", hint=error.fix, obj=obj, id=f"confiture.{number}")


def messages_of_hook(hook: Hook, where: str) -> list[CheckMessage]:
    """Return the hook's own messages; those without an object name the place that uses the hook."""
    try:
        messages = list(hook.check())
    except Exception as error:  # noqa: BLE001 - a hook may raise anything, and we show it
        name = type(hook).__name__
        problem = f"{where}: {name}.check() raised {type(error).__name__}: {error}"
        hint = "Return a list of django.core.checks messages; an empty one if all is well."
        return [Error(problem, hint=hint, obj=where, id="confiture.E010")]
    for message in messages:
        message.obj = where if message.obj is None else message.obj
    return messages


def migrations_on_disk() -> tuple[list[Migration], list[CheckMessage]]:
    """Return all migrations; none if one can't be imported, with a message if that is up to us.

    What else keeps a file from being imported is reported by Django itself, with its traceback.
    """
    loader = MigrationLoader(None, load=False)
    try:
        loader.load_disk()
    except Exception as error:  # noqa: BLE001 - a module may raise anything when it is imported
        return [], [_wrong_argument(error)] if str(error).startswith(_OPERATIONS) else []
    return list(loader.disk_migrations.values()), []


def _wrong_argument(error: Exception) -> Error:
    return Error(
        f"{import_place(error)}: {error}",
        hint="Only the first argument goes without a name, as in "
        'RunHook("shop.hooks.Backfill", phase="AFTER_DDL").',
        obj="migrations",
        id="confiture.E009",
    )


def _messages_of_backfill(
    operation: StartBackfill | RequireBackfill, label: str
) -> Iterator[CheckMessage]:
    """Yield that its class is not there; what is wrong with the class is said of the class."""
    if operation.backfill in declared_backfills():
        return
    try:
        load_backfill(operation.backfill)
    except BackfillLookupError as error:
        yield Error(
            f"Migration {label}, {type(operation).__name__}: {error}",
            hint="A class stays as long as a migration names it: each new database runs them all.",
            obj=label,
            id="confiture.E009",
        )


def messages_of_operations(migration: Migration) -> Iterator[CheckMessage]:
    """Yield what is wrong with our own operations of a migration."""
    label = str(migration)
    altered_by: Operation | None = None
    for operation in walk_operations(migration.operations):
        if isinstance(operation, (StartBackfill, RequireBackfill)):
            yield from _messages_of_backfill(operation, label)
        if not isinstance(operation, RunHook):
            if operation.category in _SCHEMA:
                altered_by = operation
            continue
        try:
            phase, hook = operation.build(label)
        except HookLookupError as error:
            yield lookup_error("E009", error, label)
            continue
        yield from messages_of_hook(hook, label)
        if phase in PHASES_BEFORE and altered_by is not None:
            yield Warning(
                f"RunHook({operation.hook_name!r}) is of phase {phase.name}, "
                f"but stands after {altered_by.describe()!r}.",
                hint="Move it to the front of operations: it runs where it stands.",
                obj=label,
                id="confiture.W002",
            )
