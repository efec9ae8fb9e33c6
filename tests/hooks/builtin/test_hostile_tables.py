"""The shipped hooks on tables of every kind, with few rows or none, and without rights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, connections, migrations
from pytest_django import Settings

from django_confiture.exceptions import HookError
from django_confiture.testing import capture_hooks
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.shipped_hooks import in_phases, rehearse, veto_of

TABLES = {
    "capitals": '"cases_Capitals"',
    "quotes": '"cases_a ""b"" \'c\' %s"',
    "dot": '"cases_a.b"',
    "schema": '"cases_Other"."Cases.Table"',
    "partitioned": "cases_parts",
    "unlogged": "cases_unlogged",
}
COLUMNS = '(id int PRIMARY KEY, "Tenant id" int NOT NULL)'
MAKE = {
    "partitioned": (
        f"CREATE TABLE cases_parts {COLUMNS} PARTITION BY RANGE (id)",
        "CREATE TABLE cases_parts_1 PARTITION OF cases_parts FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE cases_parts_2 PARTITION OF cases_parts DEFAULT",
    ),
    "unlogged": (f"CREATE UNLOGGED TABLE cases_unlogged {COLUMNS}",),
}
KINDS = pytest.mark.parametrize(("kind", "rows"), [*((each, 1) for each in TABLES), ("schema", 0)])


def execute(*statements: str, using: str = "default") -> None:
    with connections[using].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    with recording.recording():
        execute(
            'CREATE SCHEMA "cases_Other"',
            "CREATE TABLE cases_tenant (id int PRIMARY KEY)",
            "INSERT INTO cases_tenant VALUES (7)",
        )
        yield
    connections["default"].close()


def make(kind: str, rows: int) -> str:
    name = TABLES[kind]
    execute(
        *MAKE.get(kind, (f"CREATE TABLE {name} {COLUMNS}",)),
        f'CREATE INDEX ON {name} ("Tenant id")',
        f"INSERT INTO {name} SELECT i, 7 FROM generate_series(1, {rows}) i",
    )
    return name


def tenants(**more: Any) -> tuple[str, dict[str, Any]]:
    options = {
        "tables": ["cases_*", "cases_Other.*"],
        "exclude": ["cases_tenant"],
        "column": "Tenant id",
        "references": "cases_tenant",
    }
    return "validate_tenant", {**options, **more}


@KINDS
def test_each_hook_reads_it(cases: Cases, settings: Settings, kind: str, rows: int) -> None:
    name = make(kind, rows)
    measures = {name: {"sum": ["Tenant id"], "checksum": ["id", "Tenant id"]}}
    compared = in_phases(
        BEFORE_DDL=("capture_counts", {"tables": measures}),
        AFTER_VALIDATION=("verify_consistency", {"relations": {}}),
        CLEANUP=("analyze", {"tables": [name]}),
    )
    cases.add("0001_keeps", recording.operation())
    cases.add("0002_orphan", migrations.RunSQL(f"INSERT INTO {name} VALUES (100, 8)"))

    settings.CONFITURE = compared
    cases.migrate("0001")
    assert query("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", name) == [(rows,)]
    assert f"is {rows + 1} (+1): 1 row new (keys 100)" in veto_of(cases)

    settings.CONFITURE = in_phases(AFTER_VALIDATION=tenants())
    assert "1 row (keys 100) of no tenant in cases_tenant" in veto_of(cases)
    assert cases.applied() == {"0001_keeps"}


@pytest.mark.parametrize("kind", ["quotes", "schema"])
def test_its_invalid_index_is_removed(cases: Cases, settings: Settings, kind: str) -> None:
    leave_an_invalid_index(make(kind, 1))
    settings.CONFITURE = in_phases(BEFORE_DDL=("remove_invalid_indexes", {}))
    cases.add("0001_keeps", recording.operation())
    rehearse(cases, "0001_keeps")
    assert query("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(1,)]
    cases.migrate()
    assert query("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


def leave_an_invalid_index(name: str) -> None:
    execute(f"INSERT INTO {name} VALUES (50, 7)")
    with pytest.raises(IntegrityError):
        execute(f'CREATE UNIQUE INDEX CONCURRENTLY "cases_Odd i" ON {name} ("Tenant id")')


@contextmanager
def as_someone_without_rights() -> Iterator[None]:
    own = "GRANT ALL ON ALL TABLES IN SCHEMA public TO cases_poor"
    execute("CREATE ROLE cases_poor", own, "REVOKE ALL ON cases_unlogged FROM cases_poor")
    execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO cases_poor", "SET ROLE cases_poor")
    try:
        yield
    finally:
        execute("RESET ROLE", "DROP OWNED BY cases_poor", "DROP ROLE cases_poor")


@pytest.mark.parametrize(
    ("phase", "hook"),
    [
        ("BEFORE_DDL", ("capture_counts", {"tables": ["cases_unlogged"]})),
        ("AFTER_VALIDATION", tenants()),
        ("AFTER_VALIDATION", ("run_queries", {"queries": {"odd": "TABLE cases_unlogged"}})),
    ],
)
def test_without_the_right_to_read_it(
    cases: Cases, settings: Settings, phase: str, hook: Any
) -> None:
    make("unlogged", 1)
    settings.CONFITURE = in_phases(**{phase: hook})
    cases.add("0001_keeps", migrations.RunSQL("SELECT 1"))

    with as_someone_without_rights(), pytest.raises(HookError) as refused:
        cases.migrate()

    said = str(refused.value)
    assert "permission denied for table cases_unlogged" in said
    assert "\n" not in said
    assert cases.applied() == set()


def test_what_may_not_be_analyzed_is_a_failure_and_the_migration_goes_on(
    cases: Cases, settings: Settings
) -> None:
    """The server only warns, and skips it."""
    make("unlogged", 1)
    settings.CONFITURE = in_phases(CLEANUP=("analyze", {"tables": ["cases_unlogged"]}))
    cases.add("0001_keeps", migrations.RunSQL("SELECT 1"))

    with as_someone_without_rights(), capture_hooks() as hooks:
        cases.migrate()

    (run,) = hooks.find("Analyze")
    assert "Not analyzed: " in str(run.error)
    assert "cases_unlogged" in str(run.error)
    assert cases.applied() == {"0001_keeps"}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_another_alias_is_the_one_that_is_read(cases: Cases, settings: Settings) -> None:
    """The table is there alone, so a hook that asked the default database would fail."""
    fill = migrations.RunSQL(
        "CREATE TABLE cases_there (id int); INSERT INTO cases_there VALUES (1)"
    )
    cases.add("0001_makes", fill)
    cases.add("0002_adds", migrations.RunSQL("INSERT INTO cases_there VALUES (2)"))
    try:
        cases.migrate("0001", database="other")
        settings.CONFITURE = in_phases(
            BEFORE_DDL=("capture_counts", {"tables": ["cases_there"], "keep_keys": False}),
            AFTER_VALIDATION=("verify_consistency", {}),
        )
        with pytest.raises(HookError, match=r"cases_there was 1, is 2 \(\+1\)"):
            cases.migrate(database="other")
    finally:
        with connections["other"].cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS cases_there")
            cursor.execute("DELETE FROM django_migrations WHERE app = 'cases'")
