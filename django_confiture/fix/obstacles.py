"""Why a migration as a whole can't be split into files."""

from __future__ import annotations

import inspect
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from django.db import Error, connections
from django.db.migrations.migration import Migration
from django.db.migrations.recorder import MigrationRecorder

_WRITTEN = {
    "atomic",
    "dependencies",
    "operations",
    "run_before",
}
"""The attributes of a migration's class that its files can have."""


def obstacles(migration: Migration, *, applied_elsewhere: bool) -> Iterator[str]:
    """Yield each reason why a migration has to stay in one file."""
    if migration.replaces:
        yield "it replaces other migrations (squashed), and only one file can do that"
    yield from _of_its_file(migration)
    yield from _own_class(migration)
    yield from _applied(migration, told=applied_elsewhere)


def migration_file(migration: Migration) -> Path:
    """Return the file of a migration."""
    return Path(inspect.getfile(type(migration)))


def _of_its_file(migration: Migration) -> Iterator[str]:
    path = migration_file(migration).resolve()
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if any(each in path.parents for each in installed) or not os.access(path.parent, os.W_OK):
        yield (
            "it belongs to an installed package: run it in a quiet hour, with "
            'CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "2s", "MAX_BLOCKING": "2s"}}'
        )


def _own_class(migration: Migration) -> Iterator[str]:
    own = {name for name in vars(type(migration)) if not name.startswith("__")} - _WRITTEN
    if own:
        yield f"its class has {', '.join(sorted(own))}, which one file alone can have"
    if type(migration).__bases__ != (Migration,):
        yield f"its class is derived from {type(migration).__bases__[0].__name__}"


def _applied(migration: Migration, *, told: bool) -> Iterator[str]:
    consequence = "files before it would make that database's history inconsistent"
    if told:
        yield f"it is applied elsewhere (--applied-elsewhere): {consequence}"
    for alias in connections:
        try:
            applied = MigrationRecorder(connections[alias]).applied_migrations()
        except Error:
            yield f"the database {alias!r} can't be asked whether it has applied it: {consequence}"
            continue
        if (migration.app_label, migration.name) in applied:
            yield f"the database {alias!r} has applied it: {consequence}"
