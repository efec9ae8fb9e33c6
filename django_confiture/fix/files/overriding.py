"""Writes an installed app's migrations into a package of the project, with one of them fixed.

``MIGRATION_MODULES`` then has Django load them from there. Those that stay as they are, are taken
from the installed package.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from django.db.migrations.migration import Migration

from django_confiture.fix.files.writing import write_files
from django_confiture.fix.outcomes import FixedFile

_INIT = '''\
"""The migrations of {app_label}, with {name} in several files.

After an upgrade of the package, add those that it brings.
"""
'''
_AS_INSTALLED = '''\
"""As in the installed package."""

from importlib import import_module

Migration = import_module("{module}").Migration
'''


class CannotOverride(Exception):  # noqa: N818 - it says what can't be done
    """Raised where there is no place for the package; the message names it."""


def place_of(package: str) -> Path:
    """Return the directory of a package that is to be made."""
    parent, _, own = package.rpartition(".")
    if not all(each.isidentifier() for each in package.split(".")):
        raise CannotOverride(f"--override {package}: it is not the dotted name of a package.")
    try:
        found = importlib.util.find_spec(parent) if parent else None
    except ImportError:
        found = None
    locations = found.submodule_search_locations if found is not None else None
    if parent and not locations:
        raise CannotOverride(
            f"--override {package}: there is no package {parent!r} to put it into."
        )
    directory = Path(locations[0] if locations else ".") / own
    if directory.exists():
        raise CannotOverride(f"--override {package}: {directory} is there already.")
    return directory


def write_override(
    directory: Path, migration: Migration, files: Sequence[FixedFile], others: Iterable[Migration]
) -> None:
    """Write the package, all of it or nothing; ``others`` are the app's other migrations."""
    directory.mkdir()
    try:
        init = _INIT.format(app_label=migration.app_label, name=migration.name)
        (directory / "__init__.py").write_text(init, encoding="utf-8")
        for each in others:
            source = _AS_INSTALLED.format(module=type(each).__module__)
            (directory / f"{each.name}.py").write_text(source, encoding="utf-8")
        write_files(directory, files)
    except BaseException:
        shutil.rmtree(directory)
        raise
