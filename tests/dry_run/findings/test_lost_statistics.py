"""A changed type drops what the planner knew of a column: said, until something analyzes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from tests.cases.migrations_on_disk import query
from tests.support.dry_run import migration, plain_connection, rehearse, runs

MADE = """
    CREATE TABLE dry_known (id integer PRIMARY KEY, code varchar(10), name text, "Ro w" integer);
    CREATE INDEX ON dry_known (code);
    CREATE TABLE dry_unknown (id integer PRIMARY KEY, code varchar(10));
    INSERT INTO dry_known SELECT i, 'c' || i % 7, 'n', i FROM generate_series(1, 500) i;
    INSERT INTO dry_unknown SELECT i, 'c' FROM generate_series(1, 500) i;
    ALTER TABLE dry_unknown SET (autovacuum_enabled = off);
    ANALYZE dry_known;
"""


@pytest.fixture
def _made(scratch: None) -> Iterator[None]:
    with plain_connection() as plain:
        plain.execute(MADE)
        try:
            yield
        finally:
            plain.execute("DROP TABLE dry_known, dry_unknown")


def noted(*scripts: str, **migrate: Any) -> list[str]:
    with override_settings(CONFITURE={"MIGRATE": migrate}):
        results = rehearse(*(migration(runs(each)) for each in scripts)).migrations
    assert [each.outcome for each in results] == ["passed"] * len(scripts), results[-1].error
    notes = [each for result in results for each in result.warnings]
    return [each for each in notes if each.startswith("PostgreSQL forgets")]


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(
    ("script", "columns"),
    [
        ("ALTER TABLE dry_known ALTER code TYPE varchar(20)", "code"),
        ("ALTER TABLE dry_known ALTER code TYPE text, ALTER name TYPE varchar(9)", "code and name"),
        ('ALTER TABLE dry_known ALTER "Ro w" TYPE bigint', "Ro w"),
        ("ANALYZE dry_known; ALTER TABLE dry_known ALTER code TYPE varchar(20)", "code"),
    ],
)
def test_a_column_of_another_type_is_named(script: str, columns: str) -> None:
    (note,) = noted(script)
    assert note == (
        f"PostgreSQL forgets what it knew of the values of {columns} of dry_known, as the type "
        "changes: until ANALYZE dry_known, queries may get bad plans."
    )
    with plain_connection() as plain:  # as the server really does
        plain.execute(script)
        left = plain.execute("SELECT attname FROM pg_stats WHERE tablename = 'dry_known'")
        assert {name for (name,) in left}.isdisjoint(columns.split(" and "))


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(
    "script",
    [
        "ALTER TABLE dry_known ALTER code TYPE varchar(20); ANALYZE dry_known",
        "ALTER TABLE dry_unknown ALTER code TYPE varchar(20)",
        "ALTER TABLE dry_known ALTER code SET NOT NULL",
        "ALTER TABLE dry_known ADD more varchar(10); ALTER TABLE dry_known DROP code",
    ],
)
def test_what_is_known_afterwards_or_never_was_is_not(script: str) -> None:
    assert noted(script) == []


@pytest.mark.usefixtures("_made")
def test_no_word_where_migrate_analyzes_by_itself() -> None:
    assert noted("ALTER TABLE dry_known ALTER code TYPE varchar(20)", ANALYZE=True) == []
    assert query("SELECT count(*) FROM pg_stats WHERE tablename = 'dry_known'") == [(4,)]
