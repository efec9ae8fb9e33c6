"""``run_queries``: queries that fail, slow down or lose their index after a migration."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations
from pytest_django import Settings

from django_confiture import DryRunError
from django_confiture.testing import capture_hooks
from tests.cases.migrations_on_disk import Cases, query
from tests.support.shipped_hooks import execute, in_phases, option_messages, rehearse, veto_of

BY_NUMBER = "SELECT id FROM cases_order WHERE number = 'n77'"


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> None:
    execute(
        "CREATE TABLE cases_order (id int PRIMARY KEY, number text)",
        "INSERT INTO cases_order SELECT i, 'n' || i FROM generate_series(1, 5000) i",
        "CREATE INDEX cases_order_number ON cases_order (number)",
        "ANALYZE cases_order",
    )


def configure(settings: Settings, **options: Any) -> None:
    given = ("run_queries", {"queries": {"by number": BY_NUMBER}, **options})
    settings.CONFITURE = in_phases(BEFORE_DDL=given, AFTER_VALIDATION=given)


def test_times_and_plans_before_and_after_are_reported(cases: Cases, settings: Settings) -> None:
    cases.add("0001_drops", migrations.RunSQL("DROP INDEX cases_order_number"))
    configure(settings)
    with capture_hooks() as hooks:
        cases.migrate()
    _before, after = hooks.assert_ran("RunQueries", times=2)
    assert after.result is not None
    assert after.result.stats is not None
    found = after.result.stats["queries"]["by number"]
    assert found["before_plan"] in (
        ["Index Scan using cases_order_number on cases_order"],
        ["Bitmap Heap Scan on cases_order"],
    )
    assert found["plan"] == ["Seq Scan on cases_order"]
    assert found["before_ms"] >= 0
    assert found["ms"] >= 0
    assert found["error"] == ""


def test_a_query_that_no_longer_works_is_a_veto(cases: Cases, settings: Settings) -> None:
    cases.add("0001_renames", migrations.RunSQL("ALTER TABLE cases_order RENAME number TO code"))
    configure(settings)
    assert veto_of(cases) == (
        "After cases.0001_renames, the query 'by number' fails: column \"number\" does not exist."
    )
    assert cases.applied() == set()


def test_a_query_of_the_new_code_only_has_to_work_afterwards(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_adds", migrations.RunSQL("ALTER TABLE cases_order ADD segment text"))
    configure(settings, queries={"new": "SELECT segment FROM cases_order LIMIT 1"})
    cases.migrate()
    assert cases.applied() == {"0001_adds"}


def test_without_a_reading_before_it_still_has_to_work(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty")
    given = ("run_queries", {"queries": {"wrong": "SELECT nothing FROM cases_order"}})
    settings.CONFITURE = in_phases(AFTER_VALIDATION=given)
    assert "the query 'wrong' fails: column \"nothing\" does not exist" in veto_of(cases)


def test_a_lost_index_is_a_veto_where_indexes_are_to_be_kept(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_drops", migrations.RunSQL("DROP INDEX cases_order_number"))
    configure(settings, keep_indexes=True)
    assert veto_of(cases) == (
        "After cases.0001_drops, the query 'by number' reads cases_order from end to end, not by "
        "an index."
    )


SLOW = "CREATE OR REPLACE VIEW cases_view AS SELECT count(*)::int AS one FROM pg_sleep(0.2)"


def test_a_query_that_slows_down_too_much_is_a_veto(cases: Cases, settings: Settings) -> None:
    execute("DROP VIEW IF EXISTS cases_view; CREATE VIEW cases_view AS SELECT 1 AS one")
    try:
        cases.add("0001_slows", migrations.RunSQL(SLOW))
        configure(settings, queries={"view": "SELECT one FROM cases_view"}, max_slowdown=3)
        veto = veto_of(cases)
        assert veto.startswith("After cases.0001_slows, the query 'view' takes 2")
        assert ", and took " in veto
        configure(settings, queries={"view": "SELECT one FROM cases_view"}, max_time="100ms")
        assert veto_of(cases) == (
            "After cases.0001_slows, the query 'view' fails: it takes longer than 100 ms."
        )
    finally:
        execute("DROP VIEW cases_view")


def test_a_query_may_write_and_leaves_nothing(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty")
    queries = {
        "list": {"sql": "DELETE FROM cases_order WHERE id < %s", "params": [10]},
        "names": {"sql": "INSERT INTO cases_order VALUES (%(id)s)", "params": {"id": 0}},
        "percent": "SELECT 1 FROM cases_order WHERE number LIKE 'n%'",
    }
    configure(settings, queries=queries)
    cases.migrate()
    assert query("SELECT count(*) FROM cases_order") == [(5000,)]


def test_a_dry_run_fails_where_the_migration_would(cases: Cases, settings: Settings) -> None:
    cases.add("0001_drops", migrations.RunSQL("DROP TABLE cases_order"))
    configure(settings)
    with pytest.raises(DryRunError, match="the query 'by number' fails: relation"):
        rehearse(cases, "0001_drops")


def test_backwards_it_is_skipped(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty")
    configure(settings)
    cases.migrate()
    with capture_hooks() as hooks:
        cases.migrate("zero")
    assert [run.outcome for run in hooks.find("RunQueries")] == ["skipped", "skipped"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            (
                "confiture.E012",
                'run_queries: OPTIONS["queries"] is missing.',
                "Write it: it is required.",
            ),
        ),
        (
            {"queries": {"a": {"query": "SELECT 1"}}},
            (
                "confiture.E012",
                "run_queries: OPTIONS[\"queries\"]['a'] is {'query': 'SELECT 1'}.",
                'Write SQL, or {"sql": ..., "params": [...]}.',
            ),
        ),
        (
            {"queries": {}, "max_slowdown": "3"},
            (
                "confiture.E012",
                "run_queries: OPTIONS[\"max_slowdown\"] is '3'.",
                "Write a number, 0 or more.",
            ),
        ),
        (
            {"queries": {}, "slowdown": 3},
            (
                "confiture.E011",
                "run_queries has the unknown option 'slowdown'.",
                "Did you mean 'max_slowdown'?",
            ),
        ),
    ],
)
def test_wrong_options_are_system_checks(options: Any, expected: Any) -> None:
    assert option_messages("run_queries", options) == [expected]
