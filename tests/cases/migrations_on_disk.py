"""Migrations of the app "cases" that a test composes, as files that Django loads."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from pytest_django import Settings

_numbers = itertools.count(1)
_operations: dict[tuple[str, str], Sequence[Operation]] = {}

_FILE = """
from django.db import migrations

from tests.cases.migrations_on_disk import operations_of


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = {dependencies}
    operations = operations_of(__name__)
"""


def operations_of(module: str) -> Sequence[Operation]:
    package, _, name = module.rpartition(".")
    return _operations[package, name]


class Cases:
    """The migrations of the app "cases", for one test."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self.names: list[str] = []

    def add(self, name: str, *operations: Operation, atomic: bool = True) -> None:
        """Write a migration that comes after those added before.

        A second one of a name would not be imported, so it is refused.
        """
        if name in self.names:
            raise ValueError(f"{name} is there already")
        _operations[self.package.name, name] = operations
        before = [("cases", each) for each in self.names[-1:]]
        self.write(name, _FILE.format(atomic=atomic, dependencies=before))

    def write(self, name: str, source: str) -> None:
        """Write a migration file as it is."""
        (self.package / f"{name}.py").write_text(source)
        self.names.append(name)
        importlib.invalidate_caches()

    def migrate(self, name: str = "", **options: Any) -> None:
        """Run ``manage.py migrate cases [name]``."""
        call_command("migrate", "cases", *filter(None, [name]), **{"verbosity": 0, **options})

    def applied(self) -> set[str]:
        """Return the names of the applied migrations."""
        rows = query("SELECT name FROM django_migrations WHERE app = 'cases'")
        return {name for (name,) in rows}

    def drop_everything(self, cursor: Any) -> None:
        """Drop what the app has in the database, and the record of its migrations."""
        cursor.execute(
            "SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace"
            " WHERE nspname LIKE 'cases\\_%' UNION ALL"
            " SELECT format('DROP ROUTINE %s CASCADE', oid::regprocedure) FROM pg_proc"
            " WHERE proname LIKE 'cases\\_%' UNION ALL"
            " SELECT format('DROP TABLE IF EXISTS %s CASCADE', oid::regclass) FROM pg_class"
            " WHERE relkind IN ('r', 'p') AND (relname LIKE 'cases\\_%' OR relname ~ '^Shop ')"
            " AND relnamespace = current_schema()::regnamespace UNION ALL"
            " SELECT format('DROP SEQUENCE IF EXISTS %s CASCADE', oid::regclass) FROM pg_class"
            " WHERE relkind = 'S' AND relname LIKE 'cases\\_%'"
            " AND relnamespace = current_schema()::regnamespace"
        )
        for (drop,) in cursor.fetchall():
            cursor.execute(drop)
        cursor.execute("DELETE FROM django_migrations WHERE app = 'cases'")

    def loaded(self, name: str) -> Migration:
        """Return an instance of a migration, as Django loads it."""
        module = importlib.import_module(f"{self.package.name}.{name}")
        migration: Migration = module.Migration(name, "cases")
        return migration


def query(sql: str, *params: str | int, using: str = "default") -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with connections[using].cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def table_exists(name: str) -> bool:
    return query("SELECT to_regclass(%s) IS NOT NULL", name) == [(True,)]


@contextmanager
def make_cases(
    directory: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> Iterator[Cases]:
    package = directory / f"cases_migrations_{next(_numbers)}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(directory))
    settings.MIGRATION_MODULES = {"cases": package.name}
    made = Cases(package)
    try:
        yield made
    finally:
        with connections["default"].cursor() as cursor:
            made.drop_everything(cursor)
        for module in [name for name in sys.modules if name.partition(".")[0] == package.name]:
            del sys.modules[module]
