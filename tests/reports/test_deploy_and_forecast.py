"""Sentences about the deploy order and about production's forecast."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_confiture.dry_run.results.deploy import (
    Action,
    Break,
    Checked,
    Deploy,
    NewCodeBreak,
    Order,
)
from django_confiture.dry_run.results.report import RunOutcome
from django_confiture.reports import render
from django_confiture.reports.phrases import deploy
from tests.support import report_cases


def failing(action: Action, sqlstate: str, error: str, table: str = "shop_order") -> Break:
    return Break(None, table, action, sqlstate, error, "SQL", "shop.0002_total", 0)


@pytest.mark.parametrize(
    ("action", "sqlstate", "error", "expected"),
    [
        (
            "insert",
            "23502",
            'null value in column "currency" of relation "shop_order" violates …',
            "currency is NOT NULL and has no default in the database",
        ),
        ("select", "42703", "column shop_order.total does not exist", "there is no column total"),
        ("select", "42P01", 'relation "gone" does not exist', "there is no table gone"),
        (
            "delete",
            "23503",
            'update or delete on table "a" violates foreign key constraint "b" on table "c"',
            "rows of c refer to it",
        ),
        ("insert", "22001", "value too long", "a value is too large for the column's type"),
        ("update", "22003", "out of range", "a value is too large for the column's type"),
        (
            "insert",
            "23514",
            'new row for relation "a" violates check constraint "positive"',
            "positive refuses what was allowed",
        ),
        ("update", "XX000", "something\nelse", "something"),
    ],
)
def test_why_an_action_fails(action: Action, sqlstate: str, error: str, expected: str) -> None:
    assert deploy.why(failing(action, sqlstate, error)) == expected


def test_what_hurts_most_is_named_first() -> None:
    breaks = (
        failing("delete", "42P01", 'relation "x" does not exist', "a"),
        failing("update", "42P01", 'relation "x" does not exist', "b"),
        failing("insert", "42P01", 'relation "x" does not exist', "c"),
        failing("delete", "42P01", 'relation "x" does not exist', "c"),
    )
    report = report_cases.report_of(report_cases.SAFE, deploy=Deploy("code_first", breaks))
    assert deploy.why_this_order(report) == (
        "After the plan the running release can't INSERT or DELETE rows of c (there is no table "
        "x), UPDATE rows of b (there is no table x), and so on for 1 more table"
    )


def no_such(table: str) -> NewCodeBreak:
    error = f'relation "{table.rpartition(".")[2]}" does not exist'
    return NewCodeBreak(**vars(failing("select", "42P01", error, table)), still_after=False)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (["shop_coupon"], "use shop_coupon (it doesn't exist)"),
        (["sales.coupon", "rebate"], "use sales.coupon or rebate (they don't exist)"),
        (list("abcde"), "use a, b or 3 other tables (they don't exist)"),
    ],
)
def test_tables_that_the_plan_makes_are_named_together(tables: list[str], said: str) -> None:
    column = failing("select", "42703", "column x.total does not exist", "x")
    new_code = (*map(no_such, tables), NewCodeBreak(**vars(column), still_after=False))
    report = report_cases.report_of(report_cases.SAFE, deploy=Deploy("migrate_first", (), new_code))
    assert deploy.why_this_order(report) == (
        "Before the plan the new release can't SELECT rows of x (there is no column total) or "
        f"{said}"
    )


@pytest.mark.parametrize("outcome", ["failed", "yielded"])
@pytest.mark.parametrize("order", ["either", "migrate_first", "code_first"])
def test_a_plan_that_was_cut_short_promises_no_more_than_was_tried(
    order: Order, outcome: RunOutcome
) -> None:
    report = report_cases.report_of(report_cases.SAFE, deploy=Deploy(order))
    whole = deploy.decision(report)
    cut_short = deploy.decision(replace(report, outcome=outcome))
    assert cut_short == f"{whole}, as far as the plan got"


def test_long_lists_are_cut_and_said_to_be() -> None:
    broken = NewCodeBreak(
        **vars(failing("select", "42703", "column a.b does not exist")), still_after=True
    )
    found = Deploy(
        "migrate_first",
        new_code=(broken,) * 25,
        checked=Checked(1, 0),
        not_checked=tuple(f"shop.Model{each}: no rights" for each in range(30)),
    )
    report = report_cases.report_of(report_cases.SAFE, deploy=found)
    new = list(deploy.new_code(report))
    assert new[0] == "SELECT of shop_order: column a.b does not exist (42703); nor after"
    assert (len(new), new[-1]) == (21, "and 5 more, in the JSON report")
    untried = list(deploy.not_checked(report))
    assert (len(untried), untried[-1]) == (21, "and 10 more, in the JSON report")


def test_details_show_the_forecast_its_volumes_and_its_basis() -> None:
    text = render(report_cases.forecast(), "text", verbosity=2)
    assert "in prod  about 16.5 s (8.1 s to 41.0 s; such ranges held in 83 of 100 cases)" in text
    assert "300 MB of WAL" in text
    assert "basis    10 times the rows" in text


def test_a_forecast_that_was_never_checked_says_so() -> None:
    report = report_cases.forecast()
    (migration,) = report.migrations
    assert migration.estimate is not None
    unchecked = replace(migration.estimate, confidence_percent=0)
    changed = replace(report, migrations=(replace(migration, estimate=unchecked),))
    assert "no such forecast has been checked yet" in render(changed, "text", verbosity=2)
