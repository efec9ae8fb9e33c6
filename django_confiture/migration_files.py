"""How a command ends whose migration files can't be loaded, and what identifies one that can."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import CommandError
from django.db.migrations import exceptions
from django.db.migrations.loader import MigrationLoader

from django_confiture.database_errors import COULD_NOT_START
from django_confiture.formatting import error_line, one_line

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


def file_error(error: BaseException) -> str:
    """Return one line about an error that Django met as it loaded migrations, ``""`` for others."""
    if isinstance(error, _DO_NOT_FIT_TOGETHER):
        return one_line(error)
    if not (place := import_place(error)):
        return ""
    return f"{place}: {error_line(error)}"


def import_place(error: BaseException) -> str:
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


def source_hash(label: str) -> str:
    """Return the hash of a migration's file, ``""`` where there is none to read."""
    app_label, _, name = label.partition(".")
    try:
        package, _explicit = MigrationLoader.migrations_module(app_label)
        spec = find_spec(f"{package}.{name}") if package else None
        source = Path(spec.origin).read_bytes() if spec is not None and spec.origin else b""
    except (LookupError, ImportError, OSError):
        return ""
    return hashlib.sha256(source).hexdigest() if source else ""


def has_changed(label: str, direction: str, plan: Mapping[str, Any]) -> bool:
    """Return whether a migration's file is not what it was when a dry run's plan was recorded.

    ``plan`` is what :mod:`django_confiture.history.plan_fingerprint` returns. False where that is
    not known.
    """
    then = recorded_hash(label, direction, plan)
    return then is not None and then != source_hash(label)


def recorded_hash(label: str, direction: str, plan: Mapping[str, Any]) -> str | None:
    """Return the hash of a migration's file when a dry run's plan was recorded, None if unknown."""
    then = {(each, way): digest for each, way, digest in plan.get("migrations", ())}
    return then.get((label, direction))


def _imports(frame: FrameType) -> bool:
    return str(frame.f_globals["__name__"]).partition(".")[0] == "importlib"
