"""The constants of a machine, read from the file that the settings name."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, migrations

from django_confiture.dry_run.executor import DryRunExecutor
from django_confiture.dry_run.settings import dry_run_settings
from django_confiture.production import collect, load
from tests.cases.migrations_on_disk import Cases

UPDATE = "UPDATE cases_row SET note = 'x'"


@pytest.fixture
def times_nine(cases: Cases, tmp_path: Path) -> Path:
    """A table of 20,000 rows, and statistics of nine times as many."""
    cases.add("0001_row", migrations.RunSQL("CREATE TABLE cases_row (id int, note text)"))
    call_command("migrate", "cases", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO cases_row SELECT generate_series(1, 20000)")
        cursor.execute("ANALYZE cases_row")
    document = json.loads(collect(connection).to_json())
    document["tables"]["cases_row"]["rows"] *= 9
    path = tmp_path / "production.json"
    path.write_text(json.dumps(document))
    cases.add("0002_update", migrations.RunSQL(UPDATE))
    return path


def calibrated(path: Path, exponent: float) -> str:
    path.write_text(
        json.dumps(
            {
                "confiture_calibration": 1,
                "made_at": "2026-11-28T12:00:00+00:00",
                "server_version": 170003,
                "kinds": {"update": {"exponent": exponent, "spread": 0.02, "noise": 0.1}},
            }
        )
    )
    return str(path)


def reported(stats: Path) -> dict[str, Any]:
    out = StringIO()
    call_command(
        "migrate_dryrun", "cases", stats=str(stats), format="json", verbosity=0, stdout=out
    )
    read: dict[str, Any] = json.loads(out.getvalue())
    return read


def growth(report: dict[str, Any]) -> float:
    """Return how many times its own duration the UPDATE is forecast to take."""
    (statement,) = (
        each
        for operation in report["migrations"][0]["operations"]
        for each in operation["statements"]
        if each["sql"] == UPDATE
    )
    fixed = 0.5
    return float(
        (statement["estimate"]["expected_ms"] - fixed) / (statement["duration_ms"] - fixed)
    )


def test_the_file_sets_how_a_kind_grows_and_the_report_names_it(
    times_nine: Path, tmp_path: Path, settings: Any
) -> None:
    without = reported(times_nine)
    assert without["calibration"] is None
    assert growth(without) == pytest.approx(9**1.04, rel=0.01)

    path = calibrated(tmp_path / "here.json", 2.0)
    settings.CONFITURE = {"DRY_RUN": {"CALIBRATION": path}}
    report = reported(times_nine)

    assert growth(report) == pytest.approx(81, rel=0.01)
    assert report["calibration"] == {
        "file": path,
        "made_at": "2026-11-28T12:00:00+00:00",
        "server_version": 170003,
        "kinds": ["update"],
    }


def test_the_executor_reads_it_too(times_nine: Path, tmp_path: Path, settings: Any) -> None:
    from django.db.migrations.loader import MigrationLoader

    migration = MigrationLoader(connection).graph.nodes["cases", "0002_update"]
    few, many = (
        _expected(migration, times_nine, calibrated(tmp_path / "here.json", exponent), settings)
        for exponent in (0.0, 2.0)
    )
    assert many > 10 * few


def _expected(migration: Any, stats: Path, calibration: str, settings: Any) -> int:
    settings.CONFITURE = {"DRY_RUN": {"CALIBRATION": calibration}}
    result = DryRunExecutor(stats=load(stats)).run(connection, migration)
    return result.estimated_production_time_ms


def test_without_the_setting_there_is_none() -> None:
    assert dry_run_settings().calibration_file() is None
