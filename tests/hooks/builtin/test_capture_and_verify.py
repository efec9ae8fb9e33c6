"""``capture_counts`` before, ``verify_consistency`` after, as rows are lost and changed."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations
from pytest_django import Settings

from django_confiture import DryRunError, HookError
from django_confiture.testing import capture_hooks
from tests.cases.migrations_on_disk import Cases, query
from tests.support.shipped_hooks import execute, in_phases, option_messages, rehearse, veto_of

RUN_SQL = migrations.RunSQL


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> None:
    execute(
        "CREATE TABLE cases_order (id int PRIMARY KEY, number text, total numeric(10, 2))",
        "INSERT INTO cases_order SELECT i, 'n' || i, i FROM generate_series(1, 20) i",
        "CREATE TABLE cases_slug (slug text PRIMARY KEY)",
        "INSERT INTO cases_slug VALUES ('secret'), ('other')",
    )


ALL = {"tables": {"cases_order": {"sum": ["total"], "checksum": ["number"]}}}


def configure(settings: Settings, capture: Any, verify: Any = None) -> None:
    settings.CONFITURE = in_phases(
        BEFORE_DDL=("capture_counts", capture),
        AFTER_VALIDATION=("verify_consistency", verify or {}),
    )


def test_a_migration_that_keeps_what_was_captured_passes(cases: Cases, settings: Settings) -> None:
    cases.add("0001_longer", RUN_SQL("ALTER TABLE cases_order ALTER id TYPE bigint"))
    configure(settings, {**ALL, "queries": {"pairs": "SELECT count(*) / 2 FROM cases_order"}})
    with capture_hooks() as hooks:
        cases.migrate()
    hooks.assert_order("CaptureCounts", "VerifyConsistency")
    before, after = (run.result.stats for run in hooks.runs if run.result)
    assert before == after
    assert before is not None
    assert [*before] == ["cases_order", "sum(cases_order.total)", "checksum(cases_order)", "pairs"]
    assert (before["cases_order"], before["pairs"]) == (20, 10)
    assert query("SELECT count(*) FROM pg_class WHERE relname LIKE 'confiture_kept%%'") == [(0,)]


def test_rows_that_are_gone_and_new_veto_with_the_difference_and_their_keys(
    cases: Cases, settings: Settings
) -> None:
    cases.add(
        "0001_loses",
        RUN_SQL("DELETE FROM cases_order WHERE id > 13"),
        RUN_SQL("INSERT INTO cases_order VALUES (100, 'new', 0)"),
    )
    configure(settings, {"tables": ["cases_order"]})
    assert veto_of(cases) == (
        "cases.0001_loses changed what it must not: cases_order was 20, is 14 (-6): "
        "1 row new (keys 100), 7 rows gone (keys 14, 15, 16, 17, 18, ...)."
    )
    assert query("SELECT count(*) FROM cases_order") == [(20,)]
    assert cases.applied() == set()


def test_a_sum_and_a_checksum_veto_and_name_the_rows_that_changed(
    cases: Cases, settings: Settings
) -> None:
    cases.add(
        "0001_changes",
        RUN_SQL("UPDATE cases_order SET total = total + 1, number = 'x' WHERE id IN (3, 4)"),
    )
    configure(settings, ALL)
    veto = veto_of(cases)
    assert (
        "sum(cases_order.total) was 210.00, is 212.00 (+2.00): 2 rows changed (keys 3, 4)" in veto
    )
    assert "; checksum(cases_order) was " in veto
    assert veto.endswith("2 rows changed (keys 3, 4).")


def test_keys_that_say_something_are_not_named(cases: Cases, settings: Settings) -> None:
    cases.add("0001_loses", RUN_SQL("DELETE FROM cases_slug WHERE slug = 'secret'"))
    configure(settings, {"tables": ["cases_slug"]})
    assert veto_of(cases) == (
        "cases.0001_loses changed what it must not: cases_slug was 2, is 1 (-1): 1 row gone."
    )


def test_without_kept_keys_only_the_figures_are_known(cases: Cases, settings: Settings) -> None:
    cases.add("0001_loses", RUN_SQL("DELETE FROM cases_order WHERE id = 1"))
    configure(settings, {"tables": ["cases_order"], "keep_keys": False})
    assert veto_of(cases).endswith("cases_order was 20, is 19 (-1).")


@pytest.mark.parametrize(
    ("allowed", "passes"), [(2, True), (1, False), ("10%", True), ("9%", False)]
)
def test_within_a_tolerance(
    cases: Cases, settings: Settings, allowed: object, passes: bool
) -> None:
    cases.add("0001_loses", RUN_SQL("DELETE FROM cases_order WHERE id <= 2"))
    configure(settings, {"tables": ["cases_order"]}, {"tolerance": {"cases_order": allowed}})
    if passes:
        cases.migrate()
    else:
        assert "cases_order was 20, is 18 (-2)" in veto_of(cases)


SPLIT = RUN_SQL(
    "CREATE TABLE cases_archive AS SELECT * FROM cases_order WHERE id > 15;"
    "DELETE FROM cases_order WHERE id > 15",
    "INSERT INTO cases_order SELECT * FROM cases_archive; DROP TABLE cases_archive",
)


def split(settings: Settings, condition: str) -> None:
    configure(
        settings,
        {"tables": ["cases_order", "cases_slug"]},
        {
            "queries": {"archived": "SELECT count(*) FROM cases_archive"},
            "relations": {"cases_order": condition},
        },
    )


def test_a_declared_relation_replaces_the_comparison_and_backwards_is_left_out(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_splits", SPLIT)
    split(settings, "after.cases_order + after.archived = before.cases_order")
    cases.migrate()
    with capture_hooks() as hooks:
        cases.migrate("zero")
    (verified,) = hooks.assert_ran("VerifyConsistency", direction="backward")
    assert verified.result is not None
    assert verified.result.stats == {"cases_slug": 2}


def test_a_relation_that_does_not_hold_is_a_veto(cases: Cases, settings: Settings) -> None:
    cases.add("0001_splits", SPLIT)
    split(settings, "after.cases_order = before.cases_order")
    assert veto_of(cases) == (
        "cases.0001_splits changed what it must not: cases_order was 20, is 15, and "
        "after.cases_order = before.cases_order does not hold."
    )


def test_backwards_what_was_captured_must_be_kept_too(cases: Cases, settings: Settings) -> None:
    cases.add("0001_undone", RUN_SQL("SELECT 1", "DELETE FROM cases_order WHERE id = 7"))
    configure(settings, {"tables": ["cases_order"]})
    cases.migrate()
    assert "cases_order was 20, is 19 (-1): 1 row gone (keys 7)" in veto_of(cases, "zero")


RENAMES = RUN_SQL(
    "ALTER TABLE cases_order RENAME TO cases_purchase;"
    "ALTER TABLE cases_purchase RENAME total TO amount"
)


def test_renamed_tables_and_columns_are_followed(cases: Cases, settings: Settings) -> None:
    cases.add("0001_renames", RENAMES)
    renamed = {"cases_order": "cases_purchase", "cases_order.total": "amount"}
    configure(settings, ALL, {"renamed": renamed})
    cases.migrate()
    assert cases.applied() == {"0001_renames"}


def test_a_table_that_is_gone_is_a_veto_that_says_the_option(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_renames", RENAMES)
    configure(settings, ALL)
    assert veto_of(cases) == (
        "There is no table 'cases_order' any more; if it was renamed, say so in the option "
        "'renamed' of verify_consistency."
    )


def test_a_dry_run_compares_too_and_fails_where_the_migration_would(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_keeps", RUN_SQL("UPDATE cases_order SET number = 'x'"))
    cases.add("0002_loses", RUN_SQL("DELETE FROM cases_order WHERE id = 1"))
    configure(settings, {"tables": ["cases_order"]})
    with capture_hooks() as hooks:
        assert rehearse(cases, "0001_keeps").success
    hooks.assert_order("CaptureCounts", "VerifyConsistency")
    with pytest.raises(DryRunError, match=r"cases_order was 20, is 19 \(-1\): 1 row gone"):
        rehearse(cases, "0002_loses")


def test_a_migration_without_a_transaction_is_compared_across_its_own(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_loses", RUN_SQL("DELETE FROM cases_order WHERE id = 1"), atomic=False)
    configure(settings, {"tables": ["cases_order"]})
    assert "1 row gone (keys 1)" in veto_of(cases)


# Mistakes.


def test_two_entries_that_capture_the_same_are_a_veto(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty")
    configure(settings, {"tables": ["cases_order"]})
    listed = settings.CONFITURE["PHASES"]["BEFORE_DDL"]
    settings.CONFITURE["PHASES"]["BEFORE_DDL"] = listed * 2
    assert veto_of(cases) == (
        "capture_counts captures 'cases_order' twice in one migration; name each table and query "
        "in one of its entries only."
    )


def test_nothing_captured_is_a_veto(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty")
    settings.CONFITURE = in_phases(AFTER_VALIDATION=("verify_consistency", {}))
    assert veto_of(cases) == (
        "There is nothing to compare with: let capture_counts run in this migration, too, in "
        "BEFORE_DDL."
    )


@pytest.mark.parametrize("option", ["tolerance", "relations"])
def test_a_name_that_was_not_captured_is_a_veto(
    cases: Cases, settings: Settings, option: str
) -> None:
    cases.add("0001_empty")
    value = 1 if option == "tolerance" else "true"
    configure(settings, {"tables": ["cases_order"]}, {option: {"cases_ordr": value}})
    assert veto_of(cases) == (
        f"Option '{option}' of verify_consistency names 'cases_ordr', which capture_counts did "
        "not capture; it captured 'cases_order'."
    )


@pytest.mark.parametrize(
    ("capture", "words"),
    [
        ({"tables": ["cases_ordr"]}, "There is no table 'cases_ordr' in the search path"),
        (
            {"queries": {"both": "SELECT 1, 2"}},
            "The query 'both' returned 1 row of 2 columns; write one that returns a single value",
        ),
        ({"queries": {"none": "SELECT 1 WHERE false"}}, "'none' returned 0 rows of no column;"),
    ],
)
def test_a_table_or_query_that_has_no_value_is_a_veto(
    cases: Cases, settings: Settings, capture: Any, words: str
) -> None:
    cases.add("0001_empty")
    configure(settings, capture)
    assert words in veto_of(cases)


def test_sql_that_fails_is_the_failure_of_the_hook(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty")
    configure(settings, {"queries": {"wrong": "SELECT count(*) FROM cases_nowhere"}})
    with pytest.raises(HookError, match="capture_counts failed: UndefinedTable: relation"):
        cases.migrate()


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (
            "capture_counts",
            {},
            (
                "confiture.E012",
                "capture_counts has neither 'tables' nor 'queries'.",
                'Name tables to count, such as {"tables": ["shop_order"]}.',
            ),
        ),
        (
            "capture_counts",
            {"tables": ["a"], "tabels": []},
            (
                "confiture.E011",
                "capture_counts has the unknown option 'tabels'.",
                "Did you mean 'tables'?",
            ),
        ),
        (
            "capture_counts",
            {"tables": "cases_order"},
            (
                "confiture.E012",
                "capture_counts: OPTIONS[\"tables\"] is 'cases_order'.",
                "Write a list of tables, or a dictionary.",
            ),
        ),
        (
            "capture_counts",
            {"tables": {"a": {"avg": ["b"]}}},
            (
                "confiture.E012",
                "capture_counts: OPTIONS[\"tables\"]['a'] has the unknown key 'avg'.",
                'Write "sum" or "checksum" with columns.',
            ),
        ),
        (
            "capture_counts",
            {"queries": {"a": 3}},
            (
                "confiture.E012",
                "capture_counts: OPTIONS[\"queries\"]['a'] is 3.",
                "Write a string.",
            ),
        ),
        (
            "verify_consistency",
            {"tolerance": {"a": "much"}},
            (
                "confiture.E012",
                "verify_consistency: OPTIONS[\"tolerance\"]['a'] is 'much'.",
                'Write a number, such as 10, or a percentage, such as "0.5%".',
            ),
        ),
        (
            "verify_consistency",
            {"color": 1},
            (
                "confiture.E011",
                "verify_consistency has the unknown option 'color'.",
                "Known are: tolerance, relations, queries, renamed.",
            ),
        ),
    ],
)
def test_wrong_options_are_system_checks(name: str, options: Any, expected: Any) -> None:
    assert option_messages(name, options) == [expected]
