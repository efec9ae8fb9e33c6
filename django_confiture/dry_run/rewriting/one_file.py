"""Why a migration can't be spread over several files, whatever its operations are."""

from __future__ import annotations

import inspect
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from django.db.migrations.migration import Migration


def reasons_for_one_file(migration: Migration, *, overridden: bool = False) -> Iterator[str]:
    """Yield each reason why a migration has to stay in one file.

    ``overridden`` says that its files go into a package of the project.
    """
    if migration.replaces:
        yield "it replaces other migrations (squashed), and only one file can do that"
    for each in _replacing(migration):
        yield (
            f"{migration.app_label}.{each} replaces it (squashed), and would not replace files "
            "before it, so Django could not order them: delete that one, and squash again once "
            "this one is fixed"
        )
    if is_installed(migration) and not overridden:
        yield (
            "it belongs to an installed package: run it in a quiet hour, with "
            'CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "2s", "MAX_BLOCKING": "2s"}}, '
            "or have the files written into a package of the project: --override"
        )
    own = type(migration)
    if own.__bases__ != (Migration,):
        yield f"its class is derived from {own.__bases__[0].__name__}"
    methods = sorted(
        name for name in vars(own) if callable(vars(own)[name]) and name in vars(Migration)
    )
    if methods:
        yield f"its class has its own {', '.join(methods)}, which may be about all of it"
    if own.initial:
        yield "it says initial = True, and only one file can be an app's first one"


def _replacing(migration: Migration) -> Iterator[str]:
    """Yield the names of the squashed migrations beside it that replace it."""
    package = type(migration).__module__.rpartition(".")[0]
    beside = [name for name in sys.modules if name.rpartition(".")[0] == package]
    for name in sorted(beside):
        replaces = getattr(getattr(sys.modules[name], "Migration", None), "replaces", None)
        if (migration.app_label, migration.name) in (replaces or ()):
            yield name.rpartition(".")[2]


def migration_file(migration: Migration) -> Path:
    """Return the file of a migration."""
    return Path(inspect.getfile(type(migration)))


def is_installed(migration: Migration) -> bool:
    """Return whether the migration's file is not the project's own."""
    try:
        path = migration_file(migration).resolve()
    except (OSError, TypeError):  # it was made in memory
        return False
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    return any(each in path.parents for each in installed) or not os.access(path.parent, os.W_OK)
