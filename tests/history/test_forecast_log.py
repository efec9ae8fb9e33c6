"""A real migration says what was forecast of it, and when that is over."""

from __future__ import annotations

import time
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db.migrations import RunPython, RunSQL
from pytest_django import Settings

from tests.cases.migrations_on_disk import Cases
from tests.support.history import installed
from tests.support.logs import events, extra

NEWS = "django_confiture.history.forecast_log._NEWS_MS"


@pytest.fixture(autouse=True)
def _logs(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.CONFITURE = {"ENTRY_POINTS": False}
    caplog.set_level("INFO", logger="django_confiture.history")


def dry_run() -> None:
    call_command("migrate_dryrun", "cases", stdout=StringIO(), verbosity=0)


def test_what_was_forecast(history: None, cases: Cases, caplog: pytest.LogCaptureFixture) -> None:
    cases.add("0001_table", RunSQL("CREATE TABLE cases_row AS SELECT 1 AS id"))
    dry_run()
    cases.add("0002_new", RunSQL("SELECT 1"))
    caplog.clear()
    cases.migrate()

    (event,) = (each for each in caplog.records if each.message == "migration_forecast")
    forecast = apps.get_model("confiture_history", "Forecast").objects.get()
    assert extra(event) == {
        "migration": "0001_table",
        "app_label": "cases",
        **{name: round(forecast.estimate[name]) for name in ("low_ms", "expected_ms", "high_ms")},
        "forecast_at": forecast.made_at.isoformat(),
    }
    assert event.levelname == "INFO"


def test_the_last_one_counts(history: None, cases: Cases, caplog: pytest.LogCaptureFixture) -> None:
    cases.add("0001_table", RunSQL("CREATE TABLE cases_row AS SELECT 1 AS id"))
    dry_run()
    dry_run()
    caplog.clear()
    cases.migrate()
    last = apps.get_model("confiture_history", "Forecast").objects.latest("made_at")

    (event,) = (each for each in caplog.records if each.message == "migration_forecast")
    assert extra(event)["forecast_at"] == last.made_at.isoformat()


def test_one_of_another_text_does_not_count(
    history: None, cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    cases.add("0001_table", RunSQL("CREATE TABLE cases_row AS SELECT 1 AS id"))
    cases.add("0002_other", RunSQL("SELECT 1"))
    dry_run()
    file = cases.package / "0001_table.py"
    file.write_text(f"{file.read_text()}# changed\n")
    caplog.clear()
    cases.migrate()

    told = [facts["migration"] for _name, facts in events(caplog, "migration_forecast")]
    assert told == ["0002_other"]


def test_it_takes_longer(
    history: None, cases: Cases, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NEWS, 50.0)
    cases.add("0001_slow", RunPython(slow_for_real))
    dry_run()
    slow_for_real.calls = 1
    caplog.clear()
    cases.migrate()

    (event,) = (each for each in caplog.records if each.message == "migration_overdue")
    facts = extra(event)
    assert event.levelname == "WARNING"
    assert (facts["migration"], facts["app_label"]) == ("0001_slow", "cases")
    assert 50 <= facts["elapsed_ms"] < 400
    assert facts["high_ms"] <= facts["elapsed_ms"]


def test_one_that_ends_in_time_is_not_overdue_afterwards(
    history: None, cases: Cases, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NEWS, 300.0)
    cases.add("0001_quick", RunSQL("SELECT 1"))
    cases.add("0002_failing", RunPython(fails_for_real))
    dry_run()
    with pytest.raises(ZeroDivisionError):
        cases.migrate()
    time.sleep(0.5)

    assert len(events(caplog, "migration_forecast")) == 2
    assert not [each for each in caplog.records if "overdue" in each.message]


def test_a_dry_run_is_not_held_against_a_forecast(
    history: None, cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    cases.add("0001_quick", RunSQL("SELECT 1"))
    dry_run()
    dry_run()

    assert not events(caplog, "migration_forecast")


def test_without_tables_nothing_is_said(
    transactional_db: None, cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    cases.add("0001_quick", RunSQL("SELECT 1"))
    with installed():
        cases.migrate()

    assert not events(caplog, "migration_forecast")
    assert not [r for r in caplog.records if "forecasts" in str(getattr(r, "what", ""))]


def fails_for_real(_apps: Any, editor: Any) -> None:
    if not getattr(editor.connection, "_confiture_dry_run", False):
        raise ZeroDivisionError


class _SlowForReal:
    """Takes its time from the second run on."""

    calls = 0

    def __call__(self, _apps: Any, _editor: Any) -> None:
        if self.calls:
            time.sleep(0.5)


slow_for_real = _SlowForReal()
