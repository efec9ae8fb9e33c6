"""StartBackfill in a dry run: a sample is measured and rolled back, and nothing is queued."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import migrations

from django_confiture.backfills.forecasting.outlook import SampledBatch, described, forecast_of
from django_confiture.operations import RequireBackfill, StartBackfill
from django_confiture.production import ProductionStats, collect
from tests.cases.migrations_on_disk import Cases
from tests.support.backfills import PATH, books, counters, execute, shelf
from tests.support.dry_run import migration, plain_connection, rehearse

__all__ = ["shelf"]  # a fixture

FORECAST = re.compile(
    r"Backfill (?P<name>\S+): about (?P<rows>[\d,]+) rows, about (?P<expected>.+) \((?P<low>.+) to "
    r"(?P<high>.+)\) at (?P<rate>[\d,]+) rows/s with one worker, (?P<wal>.+) of WAL; from "
    r"(?P<batches>\d+) batches of (?P<sampled>[\d,]+) rows, rolled back\. Nothing was queued\."
)


def production(**rows: int) -> ProductionStats:
    """Return the statistics of this database, with so many rows in these tables, and no others."""
    with plain_connection() as other:
        here = collect(other)
    tables = {name: replace(here.tables[name], rows=number) for name, number in rows.items()}
    return replace(here, tables=tables)


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("name", ["FillSortTitle", "ProcessSortTitle", "CountBooks"])
def test_a_sample_is_measured_and_nothing_is_left(name: str, atomic: bool) -> None:
    from django_confiture.backfills.models import BackfillRun

    books(50_000)
    report = rehearse(migration(StartBackfill(PATH + name), atomic=atomic))
    (result,) = report.migrations
    assert result.outcome == "passed", result.error
    (note,) = (each for each in result.warnings if each.startswith("Backfill"))
    match = FORECAST.fullmatch(note)
    assert match, note
    assert int(match["rows"].replace(",", "")) == pytest.approx(50_000, rel=0.15)
    assert int(match["sampled"].replace(",", "")) <= 50_000
    assert (counters(), BackfillRun.objects.count()) == ({0: 50_000}, 0)
    # What the sample did is not what the migration would do.
    assert "shelf_book" not in {table.relation for table in result.tables if table.rows_written}
    written = {
        write.relation
        for operation in result.operations
        for statement in operation.statements
        for write in statement.writes
    }
    assert "shelf_book" not in written


@pytest.mark.usefixtures("shelf")
def test_rows_of_this_very_plan_are_sampled(cases: Cases) -> None:
    books(5000)
    execute("UPDATE shelf_book SET sort_title = 'done'")
    report = rehearse(
        migration(
            migrations.RunSQL("UPDATE shelf_book SET sort_title = NULL WHERE id > 1000"),
            StartBackfill(PATH + "FillSortTitle"),
        )
    )
    (note,) = (each for each in report.migrations[0].warnings if each.startswith("Backfill"))
    assert FORECAST.fullmatch(note)


@pytest.mark.usefixtures("shelf")
def test_a_sample_that_fails_says_why_and_the_plan_goes_on() -> None:
    books(2000)
    execute("UPDATE shelf_book SET title = repeat('x', 60) WHERE id = 7")
    report = rehearse(migration(StartBackfill(PATH + "Broken"), migrations.RunSQL("SELECT 1")))
    (result,) = report.migrations
    assert result.outcome == "passed"
    (note,) = (each for each in result.warnings if each.startswith("Backfill"))
    assert note == (
        f"Backfill {PATH}Broken: a sample of it failed, and so may all of it: DataError: value too "
        "long for type character varying(100)"
    )


@pytest.mark.usefixtures("shelf")
def test_a_backfill_that_was_started_before_locks_no_rows_of_the_project() -> None:
    books(100)
    call_command("confiture_backfills", "start", PATH + "FillSortTitle", verbosity=0)
    slowly = migrations.RunSQL("SELECT pg_sleep(0.2)", "")
    report = rehearse(migration(StartBackfill(PATH + "FillSortTitle"), slowly))
    assert "rows-locked-while-working" not in [each.id for each in report.migrations[0].findings]


@pytest.mark.usefixtures("shelf")
def test_require_in_the_same_plan_is_refused_as_it_would_be(capsys: Any) -> None:
    books(100)
    report = rehearse(
        migration(StartBackfill(PATH + "FillSortTitle")),
        migration(RequireBackfill(PATH + "FillSortTitle"), name="0002_require"),
    )
    assert [each.outcome for each in report.migrations] == ["passed", "failed"]
    error = report.migrations[1].error
    assert error is not None
    assert "is queued, and 100 rows are left to do" in error.message


@pytest.mark.usefixtures("shelf")
def test_finish_is_rehearsed_as_it_is() -> None:
    books(3000)
    report = rehearse(migration(RequireBackfill(PATH + "FillSortTitle", finish=True)))
    (result,) = report.migrations
    assert result.outcome == "passed", result.error
    (table,) = (each for each in result.tables if each.relation == "shelf_book")
    assert table.rows_written == 3000
    assert counters() == {0: 3000}


@pytest.mark.usefixtures("shelf")
def test_production_s_sizes_make_it_longer() -> None:
    books(20_000)
    execute("UPDATE shelf_book SET sort_title = 'done' WHERE mod(id, 2) = 0")
    plan = migration(StartBackfill(PATH + "FillSortTitle"))
    here = rehearse(plan).migrations[0].backfills[0].forecast
    report = rehearse(plan, stats=production(shelf_book=1_000_000))
    (outlook,) = report.migrations[0].backfills
    assert (outlook.name, outlook.relation) == (PATH + "FillSortTitle", "shelf_book")
    assert here is not None
    assert outlook.forecast is not None
    assert outlook.forecast.rows == pytest.approx(500_000, rel=0.2)
    assert outlook.forecast.rows_here == pytest.approx(10_000, rel=0.2)
    expected = outlook.forecast.rows / outlook.forecast.rows_per_second
    assert outlook.forecast.expected_seconds == pytest.approx(expected, rel=0.01)
    assert outlook.forecast.wal_bytes > 20 * here.wal_bytes
    assert f"about {outlook.forecast.rows:,} rows in production (" in outlook.text
    assert outlook.text in report.migrations[0].warnings


@pytest.mark.usefixtures("shelf")
def test_a_table_that_production_s_statistics_lack_is_said() -> None:
    books(2000)
    report = rehearse(migration(StartBackfill(PATH + "FillSortTitle")), stats=production())
    (outlook,) = report.migrations[0].backfills
    assert outlook.forecast is not None
    assert outlook.forecast.rows == outlook.forecast.rows_here
    assert outlook.text.endswith("How many rows shelf_book has in production is not known.")


@pytest.mark.usefixtures("shelf")
def test_the_command_shows_it(cases: Cases, capsys: pytest.CaptureFixture[str]) -> None:
    books(20_000)
    cases.add("0001_start", StartBackfill(PATH + "FillSortTitle"))
    call_command("migrate_dryrun", "cases", verbosity=2)
    assert f"Backfill {PATH}FillSortTitle: about " in " ".join(capsys.readouterr().out.split())
    assert counters() == {0: 20_000}


# The arithmetic; no database.


def test_the_range_covers_how_the_batches_differ() -> None:
    batches = [SampledBatch(1000, seconds, 500_000) for seconds in (1.0, 1.25, 2.0, 0.8)]
    forecast = forecast_of(batches, 3_100_000)
    assert forecast is not None
    assert forecast.low_seconds < 3_100_000 / 1250
    assert forecast.high_seconds > 3_100_000 / 500
    assert forecast.low_seconds < forecast.expected_seconds < forecast.high_seconds
    assert forecast.wal_bytes == 3_100_000 * 500


def test_small_batches_at_the_start_do_not_count() -> None:
    slow, fast = SampledBatch(100, 1.0, 0), SampledBatch(10_000, 1.0, 0)
    forecast = forecast_of([slow, slow, fast, fast], 1_000_000)
    assert forecast is not None
    assert forecast.rows_per_second == 10_000
    assert "at 10,000 rows/s with one worker" in described(forecast)


def test_nothing_to_do_in_the_sample_is_said() -> None:
    assert forecast_of([SampledBatch(0, 0.1, 0)], 10) is None
    assert forecast_of([], 10) is None
