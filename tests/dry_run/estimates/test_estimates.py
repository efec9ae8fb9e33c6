"""Forecasts from real dry runs, for productions of which only the statistics differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.migrations import Migration

from django_confiture import DryRunExecutor
from django_confiture.dry_run.estimates import calibration
from django_confiture.dry_run.judge import Known
from django_confiture.dry_run.migration_executor import RehearsalExecutor
from django_confiture.dry_run.results import MigrationResult, Production, StatementResult
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from django_confiture.production import ProductionStats, TableStats, collect
from tests.support.dry_run import migration, plain_connection, python, runs, table

pytestmark = pytest.mark.usefixtures("untouched")

SCAN = "ALTER TABLE dry_row ALTER name SET NOT NULL, ADD CHECK (number > 0)"
WIDEN = "ALTER TABLE dry_row ALTER number TYPE bigint"


@pytest.fixture
def here() -> Iterator[ProductionStats]:
    """Give the statistics of the test database itself."""
    with plain_connection() as connection:
        yield collect(connection)


def production(here: ProductionStats, **tables: Any) -> ProductionStats:
    """Return the statistics with some tables changed; None takes one away."""
    found = dict(here.tables)
    for name, change in tables.items():
        if change is None:
            del found[name]
        else:
            found[name] = replace(found[name], **change)
    return replace(here, tables=found, oldest_transaction_seconds=0.0)


def times(here: ProductionStats, name: str, factor: int) -> ProductionStats:
    """Return the statistics with a table ``factor`` times as large."""
    known: TableStats = here.tables[name]
    assert known.rows is not None
    return production(
        here,
        **{name: {"rows": known.rows * factor, "heap_bytes": known.heap_bytes * factor}},
    )


def forecast(
    stats: ProductionStats | None, *migrations: Migration, samples: bool = False
) -> list[MigrationResult]:
    """Dry-run migrations with production's statistics."""
    wrapper = connections["default"]
    rehearsal = transaction_rehearsal(wrapper, known=Known(stats), samples=samples)
    with rehearsal.open():
        executor = RehearsalExecutor(rehearsal, wrapper)
        state = executor.project_state()
        for each in migrations:
            executor.record(each)
            state = executor.apply_migration(state, each)
    return list(rehearsal.report().migrations)


def statement(result: MigrationResult, start: str) -> StatementResult:
    """Return the one statement that begins so."""
    (found,) = (
        each
        for operation in result.operations
        for each in operation.statements
        if each.text.startswith(start)
    )
    return found


def growth(found: StatementResult) -> float:
    """Return how many times longer production takes."""
    assert found.estimate is not None
    return found.estimate.expected_ms / found.duration_ms


def of(result: MigrationResult, name: str) -> Production:
    found = table(result, name).production
    assert found is not None
    return found


def test_a_scan_grows_with_the_table(here: ProductionStats) -> None:
    (result,) = forecast(times(here, "dry_row", 1000), migration(runs(SCAN)))
    found = statement(result, "ALTER")
    assert found.estimate is not None
    assert found.estimate.kind == "scan"
    # Half a millisecond of it is the statement itself.
    assert growth(found) < 1000
    assert found.estimate.expected_ms > 100 * max(0.0, found.duration_ms - 0.5)
    assert "dry_row: 1,000 rows here, 1,000,000 in production: 1000 times as many" in (
        found.estimate.basis
    )


def test_metadata_stays_as_it_is(here: ProductionStats) -> None:
    add = migration(runs("ALTER TABLE dry_row ADD extra integer"))
    (result,) = forecast(times(here, "dry_row", 1000), add)
    found = statement(result, "ALTER")
    assert found.estimate is not None
    assert found.estimate.kind == "metadata"
    assert growth(found) == 1
    assert result.estimate is not None
    assert result.estimate.expected_ms == pytest.approx(result.duration_ms, rel=0.01)


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        (WIDEN, "rewrite"),
        ("CREATE INDEX dry_i ON dry_row (number)", "index"),
        ('CREATE INDEX dry_i ON dry_row (name COLLATE "C")', "index, text"),
        ("CREATE INDEX dry_i ON dry_row USING gist (int4range(number, number))", "index, gist"),
        ("ALTER TABLE dry_row ADD CONSTRAINT dry_u UNIQUE (number)", "index"),
        (
            "ALTER TABLE dry_row ADD CONSTRAINT dry_e EXCLUDE (number WITH =)",
            "exclusion constraint",
        ),
        (
            "ALTER TABLE dry_row ADD CONSTRAINT dry_f FOREIGN KEY (number) REFERENCES dry_row",
            "foreign key",
        ),
        ("UPDATE dry_row SET name = 'x'", "update"),
        ("DELETE FROM dry_row WHERE id % 2 = 0", "delete"),
        ("INSERT INTO dry_parent SELECT id + 100 FROM dry_row", "insert"),
        ("DO $$ BEGIN UPDATE dry_row SET name = 'x'; END $$", "code"),
    ],
)
def test_every_kind_of_work_grows(here: ProductionStats, sql: str, kind: str) -> None:
    (result,) = forecast(times(here, "dry_row", 50), migration(runs(sql)))
    found = statement(result, sql[:5])
    assert found.estimate is not None
    assert found.estimate.kind == kind
    assert found.estimate.expected_ms > 5 * (found.duration_ms - 0.5)
    tried = kind in calibration.GROWTH
    assert found.estimate.confidence_percent == 0  # 1,000 rows are too few to tell
    assert any("have not been tried" in line for line in found.estimate.basis) is not tried


def test_an_update_of_a_part_grows_with_the_table(here: ProductionStats) -> None:
    part = migration(runs("UPDATE dry_row SET name = 'x' WHERE id <= 100"))
    (result,) = forecast(times(here, "dry_row", 10), part)
    assert result.estimate is not None
    assert result.estimate.dead_bytes is not None
    row_bytes = here.tables["dry_row"].row_bytes
    assert row_bytes is not None
    assert result.estimate.dead_bytes == pytest.approx(10 * 100 * row_bytes, rel=0.01)


def test_a_rewrite_needs_the_tables_disk_again(here: ProductionStats) -> None:
    stats = times(here, "dry_row", 100)
    (result,) = forecast(stats, migration(runs(WIDEN)))
    assert result.estimate is not None
    known = stats.tables["dry_row"]
    assert result.estimate.disk_bytes == known.heap_bytes + known.index_bytes
    wal = statement(result, "ALTER").wal_bytes
    assert wal is not None
    assert result.estimate.wal_bytes == pytest.approx(100 * wal, rel=0.1)


def test_who_waits_and_how_many(here: ProductionStats) -> None:
    busy = production(
        here,
        dry_row={"rows": 1_000_000, "reads_per_second": 500.0, "writes_per_second": 20.0},
    )
    busy = replace(busy, oldest_transaction_seconds=90.0)
    (result,) = forecast(busy, migration(runs(WIDEN)))
    found = of(result, "dry_row")
    assert found.rows == 1_000_000
    assert found.reads_blocked is not None
    assert found.writes_blocked is not None
    assert found.reads_blocked.expected_ms > 10 * table(result, "dry_row").reads_blocked_ms
    reads, writes, queue = found.impact
    assert reads.startswith("about ")
    assert "reads of dry_row would wait up to" in reads
    assert "writes to dry_row would wait up to" in writes
    assert "had run for 1.5 min" in queue
    assert "new reads and writes queue behind it" in queue


def test_only_what_comes_after_the_lock_blocks(here: ProductionStats) -> None:
    later = migration(runs("SELECT pg_sleep(0.2)"), runs(WIDEN))
    (result,) = forecast(times(here, "dry_row", 10), later)
    blocked = of(result, "dry_row").reads_blocked
    assert blocked is not None
    assert result.estimate is not None
    assert result.estimate.expected_ms - blocked.expected_ms > 195


def test_a_table_that_blocks_nothing_has_no_range(here: ProductionStats) -> None:
    (result,) = forecast(here, migration(runs("UPDATE dry_row SET name = 'x' WHERE id = 1")))
    found = of(result, "dry_row")
    assert (found.reads_blocked, found.writes_blocked, found.impact) == (None, None, ())


def test_what_the_plan_fills_grows_with_its_source(here: ProductionStats) -> None:
    first = migration(
        runs("CREATE TABLE dry_copy (id integer); INSERT INTO dry_copy SELECT id FROM dry_row"),
    )
    second = migration(runs("CREATE INDEX dry_copy_id ON dry_copy (id)"), name="0002_case")
    results = forecast(times(here, "dry_row", 100), first, second)
    found = statement(results[1], "CREATE INDEX")
    assert found.estimate is not None
    assert found.estimate.kind == "index"
    assert found.estimate.expected_ms > 20 * (found.duration_ms - 0.5)


def test_a_loop_in_python_grows_with_what_it_reads(here: ProductionStats) -> None:
    def loop() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT id FROM dry_row WHERE id <= 50")
            for (number,) in cursor.fetchall():
                cursor.execute("UPDATE dry_row SET name = 'x' WHERE id = %s", [number])

    (result,) = forecast(times(here, "dry_row", 100), migration(python(loop)))
    found = statement(result, "UPDATE")
    assert found.executions == 50
    assert found.estimate is not None
    assert found.estimate.kind == "row by row"
    assert growth(found) > 50
    assert result.estimate is not None
    between = result.operations[0].duration_ms - found.duration_ms
    assert result.estimate.expected_ms > found.estimate.expected_ms + 20 * between


def test_what_an_aggregate_feeds_grows_with_the_rows_behind_it(here: ProductionStats) -> None:
    """Sum up rows in SQL, go through the sums in Python, and insert them into a new table."""

    def fill() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT name, sum(number), count(*) FROM dry_row GROUP BY name")
            totals = [(name, int(total)) for name, total, _count in cursor.fetchall()]
            cursor.executemany("INSERT INTO dry_total VALUES (%s, %s)", totals)

    table = migration(runs("CREATE TABLE dry_total (name text, total bigint)"))
    _made, result = forecast(
        times(here, "dry_row", 100), table, migration(python(fill), name="0002_fill")
    )
    select, insert = statement(result, "SELECT"), statement(result, "INSERT")
    assert select.estimate is not None
    assert insert.estimate is not None
    assert select.estimate.kind == "select"
    assert growth(insert) > 50
    assert result.estimate is not None
    between = result.operations[0].duration_ms - select.duration_ms - insert.duration_ms
    of_both = select.estimate.expected_ms + insert.estimate.expected_ms
    assert result.estimate.expected_ms > of_both + 20 * between


def test_a_function_that_a_user_wrote_may_do_anything(here: ProductionStats) -> None:
    function = (
        "CREATE FUNCTION dry_f() RETURNS bigint LANGUAGE sql AS 'SELECT sum(id) FROM dry_row'"
    )
    (result,) = forecast(
        here, migration(runs(function), runs("SELECT dry_f(), count(*) FROM dry_row"))
    )
    found = statement(result, "SELECT")
    assert found.estimate is not None
    assert found.estimate.kind == "code"


# Productions that are not as one would like them.


def test_without_statistics_the_figures_are_this_databases() -> None:
    (result,) = forecast(None, migration(runs(WIDEN)))
    assert result.estimate is not None
    assert "no production sizes were given" in result.estimate.basis[0]
    assert result.estimate.expected_ms == pytest.approx(result.duration_ms, rel=0.01)
    assert table(result, "dry_row").production is None


def test_a_table_that_production_does_not_have(here: ProductionStats) -> None:
    (result,) = forecast(production(here, dry_row=None), migration(runs(WIDEN)))
    assert result.estimate is not None
    assert result.estimate.confidence_percent == 0
    assert "production's statistics have no dry_row" in result.estimate.basis
    assert table(result, "dry_row").production is None
    assert result.estimate.high_ms > 1.5 * result.estimate.expected_ms


def test_a_table_that_is_empty_in_production(here: ProductionStats) -> None:
    empty = production(here, dry_row={"rows": 0, "heap_bytes": 0})
    (result,) = forecast(empty, migration(runs(WIDEN)))
    found = statement(result, "ALTER")
    assert found.estimate is not None
    assert found.estimate.expected_ms == pytest.approx(0.5, abs=0.01)


def test_a_table_that_was_never_analyzed(here: ProductionStats) -> None:
    never = {"analyzed": False, "rows": None}
    counted = production(here, dry_row={**never, "live_rows": 77_000})
    (result,) = forecast(counted, migration(runs(WIDEN)))
    assert of(result, "dry_row").rows == 77_000
    assert result.estimate is not None
    assert any("never analyzed in production" in line for line in result.estimate.basis)
    unknown = production(here, dry_row={**never, "live_rows": None})
    (result,) = forecast(unknown, migration(runs(WIDEN)))
    assert of(result, "dry_row").rows is None
    assert result.estimate is not None
    assert result.estimate.confidence_percent == 0


def test_statistics_that_are_out_of_date(here: ProductionStats) -> None:
    stale = production(here, dry_row={"changed_rows": 900})
    (result,) = forecast(stale, migration(runs(WIDEN)))
    found = statement(result, "ALTER").estimate
    assert found is not None
    assert any("changed in production since" in line for line in found.basis)


def test_a_production_of_another_version(here: ProductionStats) -> None:
    (result,) = forecast(replace(here, server_version=140012), migration(runs(WIDEN)))
    assert result.estimate is not None
    assert any("production runs PostgreSQL 14" in line for line in result.estimate.basis)


def test_what_fails_has_no_estimate() -> None:
    with pytest.raises(Exception, match="no_such_column"):
        forecast(None, migration(runs("ALTER TABLE dry_row DROP no_such_column")))


# What the API and the command make of it.


def test_the_result_carries_the_estimate(here: ProductionStats) -> None:
    executor = DryRunExecutor(stats=times(here, "dry_row", 100))
    result = executor.run("default", migration(runs(WIDEN)))
    estimate = result.stats["estimate"]
    assert result.estimated_production_time_ms == round(estimate["expected_ms"])
    assert result.confidence_percent == estimate["confidence_percent"]
    assert any("100 times as many" in warning for warning in result.warnings)
    assert result.stats["production"]["dry_row"]["rows"] == 100_000


def test_the_command_reads_a_file(
    here: ProductionStats, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "production.json"
    file.write_text(here.to_json())
    call_command("migrate_dryrun", "cases", "--format", "json", "--stats", str(file), verbosity=0)
    document = json.loads(capsys.readouterr().out)
    assert document["production"]["database"] == here.database
    for each in document["migrations"]:
        assert each["estimate"]["low_ms"] <= each["estimate"]["expected_ms"]


def test_the_command_asks_another_alias(capsys: pytest.CaptureFixture[str]) -> None:
    options = {"format": "json", "stats_from": "other", "verbosity": 0}
    call_command("migrate_dryrun", "cases", **options)
    document = json.loads(capsys.readouterr().out)
    assert document["production"]["database"] == connections["other"].settings_dict["NAME"]


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("{}", "has no key confiture_stats")]
)
def test_a_file_that_can_not_be_used(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "production.json"
    file.write_text(text)
    with pytest.raises(CommandError, match=message) as caught:
        call_command("migrate_dryrun", "--stats", str(file))
    assert caught.value.returncode == 2
