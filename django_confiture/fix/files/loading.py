"""Loads migrations: a pending one from its file, others from sources that are in no file yet."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration

from django_confiture.fix.outcomes import FixedFile
from django_confiture.formatting import one_line

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class NotLoadable(Exception):  # noqa: N818 - it says what the sources are
    """Raised where a source can't be executed; the message says why."""


def pending(
    wrapper: BaseDatabaseWrapper, key: tuple[str, str]
) -> tuple[Migration, Sequence[Migration]]:
    """Return new instances of a migration, and of the unapplied ones that it depends on."""
    executor = MigrationExecutor(wrapper)
    plan = [each for each, _backwards in executor.migration_plan([key])]
    own = executor.loader.graph.nodes[key]
    return own, [each for each in plan if each is not own]


@contextmanager
def loaded(original: Migration, files: Sequence[FixedFile]) -> Iterator[list[Migration]]:
    """Yield the migrations of sources, as modules of the original's package while it lasts.

    Their names are not those of the files, which a loader would take for the files on disk.
    """
    package = type(original).__module__.rpartition(".")[0]
    modules = [ModuleType(f"{package}.proposed_{each.name}") for each in files]
    migrations = []
    try:
        for each, module in zip(files, modules, strict=True):
            module.__package__ = package
            sys.modules[module.__name__] = module
            _execute(each, module)
            migrations.append(module.Migration(each.name, original.app_label))
            _have_classes_of(type(original).__module__, module)
        yield migrations
    finally:
        for module in modules:
            sys.modules.pop(module.__name__, None)


def _execute(file: FixedFile, module: ModuleType) -> None:
    try:
        exec(compile(file.source, f"{file.name}.py", "exec"), vars(module))  # noqa: S102
    except Exception as error:
        raise NotLoadable(one_line(error) or type(error).__name__) from error


def _have_classes_of(original: str, module: ModuleType) -> None:
    """Have the classes that are copied into a file named as those of the original are.

    A model's options have objects of them, which say what they are made of by their class's name
    when models are compared; no module of a proposed file is there any more by then.
    """
    for each in vars(module).values():
        copied = isinstance(each, type) and each.__module__ == module.__name__
        if copied and each is not module.Migration:
            each.__module__ = original
