"""The schema that the applied migrations make, from the first to the last, in an empty database.

While they run, the alias leads to that database: data migrations write there. Other databases of
the project can't be used meanwhile, so none of theirs is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
from django.apps import apps
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from psycopg import sql

from django_confiture.dry_run.clone.aliases import aliases_of
from django_confiture.dry_run.clone.empty import empty_database
from django_confiture.dry_run.measuring.schema.schema_diff import SchemaWatch
from django_confiture.dry_run.measuring.schema.schema_objects import Schema, differences
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run_mark import mark
from django_confiture.exceptions import DryRunRefused
from django_confiture.formatting import one_line

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.migration import Migration

    from django_confiture.dry_run.results import SchemaChange

Key = tuple[str, str]
"""App label and name of a migration."""

_EXTENSION = "extension"
"""Which version there is depends on the server, not on the migrations."""


class ReplayFailed(Exception):  # noqa: N818 - it fails, and says where
    """A migration of the history fails on an empty database."""


def drift_from_history(
    wrapper: BaseDatabaseWrapper,
    server: BaseDatabaseWrapper,
    *,
    progress: Callable[[int, int], None],
) -> tuple[SchemaChange, ...]:
    """Return how the schema of a database differs from what its applied migrations make.

    ``added`` is in the database alone, ``removed`` is missing in it. The empty database is made
    on ``server``. Raises :class:`ReplayFailed`, or ``DryRunRefused`` where none can be made.
    """
    found = _schema(wrapper)
    replayed = _replayed(wrapper, server, progress)
    return differences(_by_name(replayed), _by_name(found))


def tables_without_migrations(wrapper: BaseDatabaseWrapper) -> set[str]:
    """Return the tables of apps that have models and no migrations."""
    labels = MigrationLoader(wrapper).unmigrated_apps
    return {
        model._meta.db_table
        for label in labels
        for model in apps.get_app_config(label).get_models(include_auto_created=True)
    }


def _schema(wrapper: BaseDatabaseWrapper) -> Schema:
    watch = SchemaWatch(Session(wrapper.connection))
    try:
        return watch.first
    finally:
        watch.close()


def _by_name(schema: Schema) -> Schema:
    """Return the objects with keys that are the same in two databases."""
    return {
        owner: tuple(
            replace(each, key=f"{each.relation}.{each.name}", version=None)
            for each in objects
            if each.kind != _EXTENSION
        )
        for owner, objects in schema.items()
    }


def _replayed(
    wrapper: BaseDatabaseWrapper,
    server: BaseDatabaseWrapper,
    progress: Callable[[int, int], None],
) -> Schema:
    applied = {*MigrationLoader(wrapper).applied_migrations}
    name = wrapper.connection.info.dbname
    with empty_database(server, name) as made, _led_to(wrapper, server, made) as empty:
        _furnish(empty, wrapper)
        _replay(empty, applied, progress)
        return _schema(empty)


@contextmanager
def _led_to(
    wrapper: BaseDatabaseWrapper, server: BaseDatabaseWrapper, name: str
) -> Iterator[BaseDatabaseWrapper]:
    """Point the aliases of a database to another one, and refuse the use of all other aliases."""
    own = {each.alias for each in aliases_of(wrapper, ask=False)}
    with ExitStack() as stack:
        for alias in connections:
            original = connections[alias]
            if alias in own:
                stack.callback(connections.__setitem__, alias, original)
                connections[alias] = replacement = _copy(server, alias, name)
                stack.callback(_close, replacement)
            else:
                stack.enter_context(original.execute_wrapper(_refuse(alias)))
        empty = connections[wrapper.alias]
        empty.ensure_connection()
        yield empty


def _copy(server: BaseDatabaseWrapper, alias: str, name: str) -> BaseDatabaseWrapper:
    copied = server.copy(alias)
    options = dict(copied.settings_dict["OPTIONS"])
    for key in ("dbname", "service", "pool"):
        options.pop(key, None)
    copied.settings_dict.update({"NAME": name, "OPTIONS": options})
    mark(copied)  # hooks see it in their context
    return copied


def _close(wrapper: BaseDatabaseWrapper) -> None:
    with suppress(psycopg.Error):
        wrapper.close()


def _refuse(alias: str) -> Callable[..., Any]:
    def refuse(*_args: object) -> Any:
        raise DryRunRefused(
            f"it uses the database {alias!r}, which can't be used while the history is replayed"
        )

    return refuse


def _furnish(empty: BaseDatabaseWrapper, like: BaseDatabaseWrapper) -> None:
    """Make what is there before the first migration: schemas of the search path, extensions."""
    source = like.connection
    (path,) = source.execute("SHOW search_path").fetchone()
    schemas = source.execute("SELECT unnest(current_schemas(false))").fetchall()
    extensions = source.execute(
        "SELECT e.extname, n.nspname FROM pg_catalog.pg_extension e"
        " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY e.oid"
    ).fetchall()
    for name in {*(name for (name,) in schemas), *(schema for _, schema in extensions)}:
        _attempt(empty, sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
    for name, schema in extensions:
        create = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}")
        _attempt(empty, create.format(sql.Identifier(name), sql.Identifier(schema)))
    empty.connection.execute("SELECT set_config('search_path', %s, false)", [path])


def _attempt(empty: BaseDatabaseWrapper, statement: sql.Composed) -> None:
    """Run what may need more rights than the role has; a migration that needs it will say so."""
    with suppress(psycopg.Error):
        empty.connection.execute(statement)


def _replay(
    empty: BaseDatabaseWrapper, applied: set[Key], progress: Callable[[int, int], None]
) -> None:
    started: list[Migration] = []

    def note(action: str, migration: Migration | None = None, fake: bool = False) -> None:  # noqa: ARG001, FBT001, FBT002 - Django's signature
        if action == "apply_start" and migration is not None:
            progress(len(started), len(applied))
            started.append(migration)

    executor = MigrationExecutor(empty, note)  # type: ignore[arg-type]  # called with 1 to 3
    full = executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True)
    plan = [step for step in full if (step[0].app_label, step[0].name) in applied]
    planned = {(migration.app_label, migration.name) for migration, _ in plan}
    replaced = {key for migration, _ in plan for key in migration.replaces}
    if unknown := sorted(applied & {*executor.loader.graph.nodes} - planned - replaced):
        raise ReplayFailed(
            f"{'.'.join(unknown[0])} is part of a squashed migration of which only a part is "
            "applied; apply the rest first."
        )
    try:
        executor.migrate(None, plan=plan)
    except Exception as error:
        label = f"{started[-1].app_label}.{started[-1].name}" if started else "the history"
        raise ReplayFailed(f"{label} fails on an empty database: {one_line(error)}") from error
