"""How a command ends whose migration files can't be loaded."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from django.core.management.base import CommandError
from django.db.migrations import exceptions
from django.db.migrations.loader import MigrationLoader

from django_confiture.database_errors import COULD_NOT_START
from django_confiture.formatting import one_line

_DO_NOT_FIT_TOGETHER = (
    exceptions.BadMigrationError,
    exceptions.CircularDependencyError,
    exceptions.InconsistentMigrationHistory,
    exceptions.NodeNotFoundError,
)


@contextmanager
def loading_migrations() -> Iterator[None]:
    """Turn an error of migration files into a ``CommandError`` of one line, with exit code 2."""
    try:
        yield
    except Exception as error:
        if said := file_error(error):
            raise CommandError(said, returncode=COULD_NOT_START) from error
        raise


def file_error(error: Exception) -> str:
    """Return one line about an error that Django met as it loaded migrations, ``""`` for others."""
    if isinstance(error, _DO_NOT_FIT_TOGETHER):
        return one_line(error)
    if not (place := import_place(error)):
        return ""
    return f"{place}: {type(error).__name__}: {one_line(error)}"


def import_place(error: Exception) -> str:
    """Return the module and line at which importing a migration failed, ``""`` if none did."""
    steps = list(traceback.walk_tb(error.__traceback__))
    frames = [frame for frame, _line in steps]
    loading = [frame.f_code is MigrationLoader.load_disk.__code__ for frame in frames]
    if True not in loading:
        return ""
    imported = [step for step in steps[loading.index(True) + 1 :] if not _imports(step[0])]
    if not imported:  # such as a SyntaxError, whose text names the file
        return "A migration file can't be imported"
    name = imported[0][0].f_globals["__name__"]
    line = [line for frame, line in imported if frame.f_globals["__name__"] == name][-1]
    return f"{name}, line {line}"


def _imports(frame: FrameType) -> bool:
    return str(frame.f_globals["__name__"]).partition(".")[0] == "importlib"
