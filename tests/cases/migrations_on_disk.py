"""Migrations of the app "cases" that a test composes, as files that Django loads."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Collection, Iterator, Sequence
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

    def __init__(self, package: Path, before: Collection[str] = ()) -> None:
        """``before`` has what drops each object that was in the database before the test."""
        self.package = package
        self.names: list[str] = []
        self._before = before

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

    def drop_everything(self) -> None:
        """Drop what was not in the database when the test began, and the record of migrations.

        Whatever its name and kind are: what is left is in the way of a test that comes after it.
        What is in databases of other aliases is not known, so a test drops there what it has made.
        """
        with connections["default"].cursor() as cursor:
            for drop in _objects(cursor):
                if drop not in self._before:
                    cursor.execute(drop)
            cursor.execute("DELETE FROM django_migrations WHERE app = 'cases'")

    def loaded(self, name: str) -> Migration:
        """Return an instance of a migration, as Django loads it."""
        module = importlib.import_module(f"{self.package.name}.{name}")
        migration: Migration = module.Migration(name, "cases")
        return migration


_MADE_BY_USERS = """
    SELECT format('DROP %s IF EXISTS %s CASCADE', replace(type, '-', ' '), identity)
    FROM (
        SELECT 1 AS rank, 'pg_namespace'::regclass AS classid, oid FROM pg_namespace
        WHERE nspname !~ '^pg_(toast_)?temp_'
        UNION ALL
        SELECT 2, 'pg_class'::regclass, oid FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
        UNION ALL
        SELECT 3, 'pg_class'::regclass, oid FROM pg_class WHERE relkind = 'S'
        UNION ALL SELECT 4, 'pg_proc'::regclass, oid FROM pg_proc
        UNION ALL
        SELECT 5, 'pg_type'::regclass, oid FROM pg_type
        WHERE typtype IN ('d', 'e', 'r') OR typtype = 'c' AND EXISTS (
            SELECT FROM pg_class WHERE pg_class.oid = typrelid AND relkind = 'c')
        UNION ALL SELECT 6, 'pg_operator'::regclass, oid FROM pg_operator
        UNION ALL SELECT 6, 'pg_collation'::regclass, oid FROM pg_collation
        UNION ALL SELECT 6, 'pg_ts_config'::regclass, oid FROM pg_ts_config
        UNION ALL SELECT 7, 'pg_event_trigger'::regclass, oid FROM pg_event_trigger
        UNION ALL SELECT 7, 'pg_publication'::regclass, oid FROM pg_publication
        UNION ALL SELECT 7, 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
        UNION ALL SELECT 8, 'pg_extension'::regclass, oid FROM pg_extension
    ) made, pg_identify_object(classid, oid, 0)
    WHERE oid >= 16384 AND schema IS DISTINCT FROM 'pg_toast' AND NOT EXISTS (
        SELECT FROM pg_depend WHERE pg_depend.classid = made.classid AND objid = oid
        AND objsubid = 0 AND deptype IN ('e', 'i'))
    ORDER BY rank, oid DESC
"""


def _objects(cursor: Any) -> list[str]:
    """Return a statement that drops each object that is not the system's, or of an extension.

    Objects are told by their names: a test may make the whole database again.
    """
    cursor.execute(_MADE_BY_USERS)
    return [drop for (drop,) in cursor.fetchall()]


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
    with connections["default"].cursor() as cursor:
        made = Cases(package, set(_objects(cursor)))
    try:
        yield made
    finally:
        made.drop_everything()
        for module in [name for name in sys.modules if name.partition(".")[0] == package.name]:
            del sys.modules[module]
