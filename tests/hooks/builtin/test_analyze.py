"""``analyze``: the statistics are there when the migration is."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations
from pytest_django import Settings

from django_confiture.testing import capture_hooks
from tests.cases.migrations_on_disk import Cases, query
from tests.support.shipped_hooks import execute, in_phases, option_messages, rehearse

CREATE = "CREATE TABLE cases_fruit (name text); CREATE TABLE cases_other (name text)"
FILL = "INSERT INTO cases_fruit SELECT 'fruit ' || i % 10 FROM generate_series(1, 500) i"


def configure(settings: Settings, **options: Any) -> None:
    settings.CONFITURE = in_phases(CLEANUP=("analyze", options))


def known() -> list[Any]:
    rows = query("SELECT relname FROM pg_class WHERE relname LIKE 'cases\\_%%' AND reltuples >= 0")
    return sorted(name for (name,) in rows)


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> None:
    execute(CREATE, "ALTER TABLE cases_fruit SET (autovacuum_enabled = false)")


def test_the_tables_that_were_written_are_analyzed(cases: Cases, settings: Settings) -> None:
    cases.add("0001_fill", migrations.RunSQL(FILL))
    configure(settings)
    with capture_hooks() as hooks:
        cases.migrate()
    (run,) = hooks.assert_ran("Analyze", phase="CLEANUP")
    assert run.result is not None
    assert run.result.stats == {"analyzed": ["public.cases_fruit"]}
    assert known() == ["cases_fruit"]
    assert query("SELECT n_distinct FROM pg_stats WHERE tablename = 'cases_fruit'") == [(10.0,)]


def test_few_rows_are_not_worth_it(cases: Cases, settings: Settings) -> None:
    cases.add("0001_fill", migrations.RunSQL(FILL))
    configure(settings, min_rows=501)
    cases.migrate()
    assert known() == []


def test_named_tables_are_analyzed_and_no_others_without_a_transaction_too(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_fill", migrations.RunSQL(FILL), atomic=False)
    configure(settings, tables=["public.cases_other"])
    cases.migrate()
    assert known() == ["cases_other"]


def test_a_table_that_is_missing_does_not_stop_the_migration(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_fill", migrations.RunSQL(FILL))
    configure(settings, tables=["cases_other", "cases_nowhere"])
    with capture_hooks() as hooks:
        cases.migrate()
    (run,) = hooks.find("Analyze")
    assert "There is no table 'cases_nowhere'" in str(run.error)
    assert cases.applied() == {"0001_fill"}


def test_after_a_failed_migration_nothing_is_analyzed(cases: Cases, settings: Settings) -> None:
    cases.add("0001_fails", migrations.RunSQL("SELECT 1 / 0"))
    configure(settings, tables=["cases_other"])
    with capture_hooks() as hooks, pytest.raises(Exception, match="division by zero"):
        cases.migrate()
    (run,) = hooks.assert_ran("Analyze")
    assert run.result is not None
    assert run.result.stats == {"analyzed": []}
    assert known() == []


def test_a_dry_run_skips_it_and_leaves_no_statistics(cases: Cases, settings: Settings) -> None:
    cases.add("0001_fill", migrations.RunSQL(FILL))
    configure(settings)
    with capture_hooks() as hooks:
        assert rehearse(cases, "0001_fill").success
    assert [run.outcome for run in hooks.find("Analyze")] == ["skipped"]
    assert known() == []


def test_backwards_it_analyzes_too(cases: Cases, settings: Settings) -> None:
    cases.add("0001_fill", migrations.RunSQL("SELECT 1", FILL))
    configure(settings)
    cases.migrate()
    assert known() == []
    cases.migrate("zero")
    assert known() == ["cases_fruit"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"table": ["a"]},
            (
                "confiture.E011",
                "analyze has the unknown option 'table'.",
                "Did you mean 'tables'?",
            ),
        ),
        (
            {"min_rows": "many"},
            (
                "confiture.E012",
                "analyze: OPTIONS[\"min_rows\"] is 'many'.",
                "Write a whole number, 0 or more.",
            ),
        ),
    ],
)
def test_wrong_options_are_system_checks(options: Any, expected: Any) -> None:
    assert option_messages("analyze", options) == [expected]
