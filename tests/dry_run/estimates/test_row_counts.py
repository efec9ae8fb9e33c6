"""Forecasts where the tables here are not those of every other test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import connections

from django_confiture.dry_run.estimates.sampling import FRACTIONS, Sampler
from django_confiture.production import ProductionStats, collect
from tests.dry_run.estimates.test_estimates import WIDEN, forecast, here, statement, times
from tests.support.dry_run import migration, plain_connection, python, runs, table

__all__ = ["here"]

pytestmark = pytest.mark.usefixtures("scratch")


def test_a_table_that_is_empty_here(here: ProductionStats) -> None:
    with plain_connection() as connection:
        connection.execute("TRUNCATE dry_row; ANALYZE dry_row")
    (result,) = forecast(times(here, "dry_row", 1000), migration(runs(WIDEN)))
    assert result.estimate is None
    assert statement(result, "ALTER").estimate is None
    assert table(result, "dry_row").production is None
    not_checked, not_measured = result.warnings
    assert not_checked.startswith("No rows here in dry_row")
    assert not_measured.startswith("dry_row is empty here and has 1,000,000 rows in production")


def test_partitions_grow_as_their_table_does() -> None:
    with plain_connection() as connection:
        connection.execute(
            """CREATE TABLE dry_part (id integer) PARTITION BY RANGE (id);
            CREATE TABLE dry_part_1 PARTITION OF dry_part FOR VALUES FROM (0) TO (500);
            CREATE TABLE dry_part_2 PARTITION OF dry_part FOR VALUES FROM (500) TO (2000);
            INSERT INTO dry_part SELECT generate_series(1, 1000); ANALYZE dry_part"""
        )
        stats = collect(connection)
    leaf = stats.tables["dry_part_1"]
    parent = replace(stats.tables["dry_part"], rows=1_000_000, partitions=("dry_part_2026_01",))
    others = {name: t for name, t in stats.tables.items() if not name.startswith("dry_part")}
    months = {"dry_part": parent, "dry_part_2026_01": replace(leaf, relation="dry_part_2026_01")}
    there = replace(stats, tables={**others, **months})
    add = migration(runs("ALTER TABLE dry_part ADD CHECK (id > 0)"))
    (result,) = forecast(there, add)
    assert result.estimate is not None
    assert "dry_part: 1,000 rows here, 1,000,000 in production: 1000 times as many" in (
        statement(result, "ALTER").estimate.basis  # type: ignore[union-attr]
    )


@pytest.fixture
def large() -> None:
    """Make a table that is worth sampling."""
    with plain_connection() as connection:
        connection.execute(
            """INSERT INTO dry_row SELECT i, md5(i::text), i, 'code'
                FROM generate_series(1001, 200000) i;
            CREATE INDEX dry_row_number ON dry_row (number); ANALYZE dry_row"""
        )


SAMPLED = {
    "index": "CREATE INDEX dry_i ON dry_row (name)",
    "rewrite": "ALTER TABLE dry_row ALTER number TYPE bigint",
    "check": "ALTER TABLE dry_row ADD CHECK (length(name) > 3)",
    "update": "UPDATE dry_row SET code = 'x' WHERE number % 2 = 0",
    "delete": "DELETE FROM dry_row WHERE number % 2 = 0",
    "insert": "INSERT INTO dry_child SELECT number + 1000, 1 + number % 10 FROM dry_row",
}


@pytest.mark.parametrize("sql", SAMPLED.values(), ids=SAMPLED)
def test_samples_say_how_a_statement_grows(large: None, sql: str) -> None:
    with plain_connection() as connection:
        stats = collect(connection)
    plain, sampled = (
        statement(forecast(stats, migration(runs(sql)), samples=samples)[0], sql[:6])
        for samples in (False, True)
    )
    assert plain.sampled is None
    assert sampled.sampled is not None
    few, many = sampled.sampled.rows
    assert 10_000 < few < 30_000
    assert 3 * few < many < 5 * few
    assert -1 < sampled.sampled.exponent < 4  # of two times, on a machine that does other things
    assert sampled.estimate is not None
    basis = f"three sizes measured: samples of {few:,} and {many:,} rows, and the whole"
    assert basis in sampled.estimate.basis
    # What was done to the samples is none of the statement's own work.
    for each in ("locks", "writes", "rewrites", "indexes_built"):
        assert getattr(sampled, each) == getattr(plain, each)
    passes = [(scan.relation, scan.passes) for scan in sampled.scans]  # the rows: dead ones, too
    assert passes == [(scan.relation, scan.passes) for scan in plain.scans]


def test_samples_take_no_time_of_the_migration(large: None) -> None:
    wide = "UPDATE dry_row SET code = name"
    with plain_connection() as connection:
        stats = collect(connection)
    (result,) = forecast(stats, migration(runs(wide)), samples=True)
    found = statement(result, "UPDATE")
    assert result.duration_ms < found.duration_ms + 500


def test_what_can_not_be_sampled_runs_all_the_same(large: None) -> None:
    with plain_connection() as connection:
        connection.execute("CREATE VIEW dry_view AS SELECT * FROM dry_row")
        stats = collect(connection)
    for sql in ("UPDATE public.dry_row SET code = 'x'", "UPDATE dry_view SET code = 'x'"):
        (result,) = forecast(stats, migration(runs(sql)), samples=True)
        assert result.outcome == "passed"
        assert statement(result, "UPDATE").sampled is None


@pytest.mark.parametrize(
    ("text", "tried"),
    [
        ("UPDATE dry_row SET code = '{0}' WHERE id <= {0}", 1),
        ("UPDATE dry_row AS n{0} SET code = 'x' WHERE id <= 10", 10),
    ],
    ids=["constants", "names"],
)
def test_texts_that_differ_are_not_all_tried(
    large: None, monkeypatch: pytest.MonkeyPatch, text: str, tried: int
) -> None:
    copies: list[str] = []
    copy = Sampler._copy

    def counted(self: Sampler, name: str, *args: Any, **kwargs: Any) -> int:
        copies.append(name)
        return copy(self, name, *args, **kwargs)

    monkeypatch.setattr(Sampler, "_copy", counted)

    def code() -> None:
        with connections["default"].cursor() as cursor:
            for number in range(2, 17):
                cursor.execute(text.format(number))

    (result,) = forecast(None, migration(python(code)), samples=True)

    assert result.outcome == "passed"
    assert len(copies) == len(FRACTIONS) * tried
