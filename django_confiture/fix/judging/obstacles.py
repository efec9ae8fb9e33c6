"""Why a migration as a whole can't be split into files."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import Error, connections
from django.db.migrations.migration import Migration
from django.db.migrations.recorder import MigrationRecorder

from django_confiture.dry_run.rewriting.one_file import migration_file, reasons_for_one_file
from django_confiture.fix.files.written_files import read_written


@dataclass(frozen=True)
class AppliedElsewhere:
    """What is known of databases that the project does not name."""

    told: bool = False
    """Whether the user says that one of them has applied the migration."""
    by_ledger: Sequence[str] = ()
    """The databases that have applied it, as the ledger says."""


def obstacles(
    migration: Migration, elsewhere: AppliedElsewhere, *, overridden: bool = False
) -> Iterator[str]:
    """Yield each reason why a migration has to stay in one file.

    ``overridden`` says that its files go into a package of the project.
    """
    yield from reasons_for_one_file(migration, overridden=overridden)
    if overridden and _imports_relatively(migration_file(migration)):
        yield "its file has relative imports, which mean something else in another package"
    if read_written(migration_file(migration)) is None:
        yield "its file does not have exactly one class Migration at its top level"
    yield from _applied(migration, elsewhere)


def _imports_relatively(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(each, ast.ImportFrom) and each.level for each in ast.walk(tree))


def _applied(migration: Migration, elsewhere: AppliedElsewhere) -> Iterator[str]:
    consequence = "files before it would make that database's history inconsistent"
    if elsewhere.told:
        yield f"it is applied elsewhere (--applied-elsewhere): {consequence}"
    for database in elsewhere.by_ledger:
        if database not in connections:  # those are asked themselves
            yield f"the ledger says that the database {database!r} has applied it: {consequence}"
    for alias in connections:
        try:
            applied = MigrationRecorder(connections[alias]).applied_migrations()
        except Error:
            yield f"the database {alias!r} can't be asked whether it has applied it: {consequence}"
            continue
        if (migration.app_label, migration.name) in applied:
            yield f"the database {alias!r} has applied it: {consequence}"
