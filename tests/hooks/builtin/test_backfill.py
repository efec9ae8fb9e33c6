"""``backfill``: each kind of declared backfill, in one statement and in batches."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations
from pytest_django import Settings

from django_confiture import HookError, RunHook
from django_confiture.operations import RequireBackfill
from django_confiture.testing import capture_hooks
from tests.cases.migrations_on_disk import Cases
from tests.support.backfills import PATH, books, counters, execute, shelf
from tests.support.shipped_hooks import option_messages, rehearse

__all__ = ["shelf"]  # a fixture

FILL = PATH + "FillSortTitle"

pytestmark = pytest.mark.usefixtures("shelf")


def add(cases: Cases, name: str, **options: Any) -> None:
    cases.add("0001_fill", RunHook("backfill", options={"backfill": PATH + name, **options}))


@pytest.mark.parametrize("in_batches", [False, True])
@pytest.mark.parametrize(
    "name", ["FillSortTitle", "ProcessSortTitle", "SaveSortTitle", "CountBooks", "CountBooksAbove"]
)
def test_every_row_is_filled_once(cases: Cases, name: str, in_batches: bool) -> None:
    books(1500)
    add(cases, name, in_batches=in_batches)
    with capture_hooks() as hooks:
        cases.migrate()
    (run,) = hooks.assert_ran("Backfill", phase="AFTER_DDL")
    assert run.result is not None
    assert run.result.rows_affected == 1500
    assert counters() == {1: 1500}


@pytest.mark.parametrize("in_batches", [False, True])
def test_what_is_done_is_left_alone_and_an_empty_table_is_nothing_to_do(
    cases: Cases, in_batches: bool
) -> None:
    add(cases, "FillSortTitle", in_batches=in_batches)
    cases.migrate()
    cases.migrate("zero")
    books(20)
    execute("UPDATE shelf_book SET sort_title = 'done' WHERE id %% 2 = 0")
    cases.migrate()
    assert counters() == {0: 10, 1: 10}


def test_with_batches_a_later_migration_finds_it_complete(cases: Cases) -> None:
    books(100)
    add(cases, "FillSortTitle", in_batches=True)
    cases.add("0002_require", RequireBackfill(FILL))
    cases.migrate()
    assert cases.applied() == {"0001_fill", "0002_require"}


@pytest.mark.parametrize(
    ("in_batches", "words"),
    [(False, "value too long"), (True, r"Backfill .*BrokenStops is failed: ")],
)
def test_a_row_that_cannot_be_filled_fails_the_migration(
    cases: Cases, in_batches: bool, words: str
) -> None:
    books(5)
    execute(
        "UPDATE shelf_book SET title = repeat('x', 90) WHERE id = (SELECT max(id) FROM shelf_book)"
    )
    add(cases, "BrokenStops", in_batches=in_batches)
    with pytest.raises(HookError, match=words):
        cases.migrate()
    assert counters() == {0: 5}
    assert cases.applied() == set()


@pytest.mark.parametrize("in_batches", [False, True])
def test_a_dry_run_measures_it_and_leaves_nothing(cases: Cases, in_batches: bool) -> None:
    books(300)
    add(cases, "FillSortTitle", in_batches=in_batches)
    with capture_hooks() as hooks:
        result = rehearse(cases, "0001_fill")
    hooks.assert_ran("Backfill", times=1)
    assert result.success
    assert result.rows_affected >= 300
    assert counters() == {0: 300}
    assert execute("SELECT count(*) FROM confiture_backfills_backfillrun") == [(0,)]


def test_backwards_it_is_skipped(cases: Cases) -> None:
    add(cases, "FillSortTitle")
    cases.migrate()
    books(3)
    with capture_hooks() as hooks:
        cases.migrate("zero")
    assert [run.outcome for run in hooks.find("Backfill")] == ["skipped"]
    assert counters() == {0: 3}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            (
                "confiture.E012",
                'backfill: OPTIONS["backfill"] is missing.',
                "Write it: it is required.",
            ),
        ),
        (
            {"backfill": FILL, "batches": True},
            (
                "confiture.E011",
                "backfill has the unknown option 'batches'.",
                "Did you mean 'in_batches'?",
            ),
        ),
        (
            {"backfill": FILL, "in_batches": 500},
            ("confiture.E012", 'backfill: OPTIONS["in_batches"] is 500.', "Write True or False."),
        ),
    ],
)
def test_wrong_options_are_system_checks(options: Any, expected: Any) -> None:
    assert option_messages("backfill", options) == [expected]


def test_a_path_that_leads_to_no_backfill_is_a_system_check() -> None:
    ((number, message, hint),) = option_messages("backfill", {"backfill": PATH + "FillSortTitel"})
    assert number == "confiture.E012"
    assert message.startswith(f"backfill: OPTIONS[\"backfill\"] is '{PATH}FillSortTitel': ")
    assert hint == ('Write the dotted path of a Backfill, such as "shop.backfills.FillSearchText".')


def test_batches_without_their_tables_are_a_system_check(settings: Settings) -> None:
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app != "django_confiture.backfills"
    ]
    assert option_messages("backfill", {"backfill": FILL, "in_batches": True}) == [
        (
            "confiture.E012",
            "backfill keeps the state of batches in tables, which are not installed.",
            "Add \"django_confiture.backfills\" to INSTALLED_APPS, or leave out 'in_batches'.",
        )
    ]


def test_it_runs_after_a_column_was_added_in_the_same_migration(cases: Cases) -> None:
    """The hook's models are those of the migration, not those of the code."""
    books(10)
    cases.add(
        "0001_fill",
        migrations.RunSQL("ALTER TABLE shelf_book ALTER times_filled SET DEFAULT 0"),
        RunHook("backfill", options={"backfill": FILL}),
    )
    cases.migrate()
    assert counters() == {1: 10}
