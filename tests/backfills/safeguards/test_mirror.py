"""The trigger of ``mirror = True``: what it fills, and that it is gone afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError
from pytest_django import Settings

from tests.support.backfills import PATH, books, execute, shelf
from tests.support.dry_run import plain_connection

__all__ = ["shelf"]  # a fixture

pytestmark = pytest.mark.usefixtures("shelf")
NAME = PATH + "Mirrored"


def triggers() -> list[Any]:
    return execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")


def functions() -> list[Any]:
    return execute("SELECT proname FROM pg_proc WHERE proname LIKE 'confiture%%'")


def titles() -> list[Any]:
    return execute("SELECT title, sort_title FROM shelf_book ORDER BY id")


def mirrored(name: str = NAME) -> Any:
    """Install the trigger, as the first worker does."""
    from django_confiture.backfills import control
    from django_confiture.backfills.declared.declaration import load_backfill
    from django_confiture.backfills.safeguards import mirror

    run = control.prepare(name, using="default", actor="the test")
    mirror.install(run, load_backfill(name), using="default")
    return run


def test_an_insert_of_old_code_is_filled() -> None:
    mirrored()
    execute("INSERT INTO shelf_book (title, times_filled) VALUES ('Old Code', 0)")
    assert titles() == [("Old Code", "old code")]


def test_an_insert_of_new_code_is_left_alone() -> None:
    mirrored()
    execute(
        "INSERT INTO shelf_book (title, sort_title, times_filled) VALUES ('New', 'by new code', 0)"
    )
    assert titles() == [("New", "by new code")]


def test_an_update_of_what_it_is_computed_from_is_followed() -> None:
    books(2)
    mirrored()
    execute("UPDATE shelf_book SET sort_title = lower(title) WHERE id = 1")
    execute("UPDATE shelf_book SET title = 'Changed'")
    assert titles() == [("Changed", "changed")] * 2


def test_what_has_to_be_done_may_be_told_by_a_default_instead_of_null() -> None:
    books(2)
    mirrored(PATH + "MirroredDefault")
    execute("UPDATE shelf_book SET times_filled = length(title) WHERE id = 1")
    execute("UPDATE shelf_book SET title = 'Changed'")
    execute("UPDATE shelf_book SET title = 'Mine', times_filled = 9 WHERE id = 2")
    execute("INSERT INTO shelf_book (title, times_filled) VALUES ('New', 0)")
    assert execute("SELECT title, times_filled FROM shelf_book ORDER BY id") == [
        ("Changed", 7),
        ("Mine", 9),
        ("New", 3),
    ]


def test_an_update_of_the_result_itself_wins() -> None:
    books(1)
    mirrored()
    execute("UPDATE shelf_book SET title = 'Both', sort_title = 'mine'")
    assert titles() == [("Both", "mine")]


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_it_stands_while_the_backfill_is_under_way_and_no_longer(end: str) -> None:
    from django_confiture.backfills import control
    from django_confiture.backfills.in_process import run_here

    books(1500)
    run = mirrored()
    assert triggers() == [(f"confiture_backfill_{run.pk}",)]
    if end == "completed":
        assert run_here(NAME, using="default", actor="the test") == end
    else:
        control.act("cancel", NAME, using="default", actor="the test")
    assert (triggers(), functions()) == ([], [])


def test_values_with_quotes_and_percent_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db.models import Q, Value
    from django.db.models.functions import Concat

    from tests.backfills.shelf import backfills

    values = {"sort_title": Concat("title", Value(" 100 % of $confiture$ o'clock"))}
    monkeypatch.setattr(backfills.Mirrored, "values", values)
    monkeypatch.setattr(backfills.Mirrored, "where", Q(sort_title=None) & ~Q(title="it's"))
    mirrored()
    execute("INSERT INTO shelf_book (title, times_filled) VALUES ('A', 0), ('it''s', 0)")
    assert titles() == [("A", "A 100 % of $confiture$ o'clock"), ("it's", None)]


@pytest.mark.parametrize("workers", [1, 2])
def test_it_goes_where_the_backfill_fails_for_good(
    monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    from django.db.models import BooleanField, F, Func, Q

    from django_confiture.backfills.in_process import run_here
    from tests.backfills.shelf import backfills

    books(10)
    where = Func(F("title"), function="no_such_function", output_field=BooleanField())
    monkeypatch.setattr(backfills.Mirrored, "where", Q(where))
    assert run_here(NAME, using="default", actor="the test", workers=workers) == "failed"
    assert (triggers(), functions()) == ([], [])


def test_a_lock_that_stays_in_the_way_of_the_trigger_ends_it_at_the_last_attempt(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_confiture.backfills.safeguards import mirror

    settings.CONFITURE = {"BACKFILLS": {"LOCK_TIMEOUT": "20ms"}}
    monkeypatch.setattr(mirror, "ATTEMPTS", 1)
    with plain_connection() as other, other.transaction():
        other.execute("LOCK TABLE shelf_book")
        with pytest.raises(OperationalError, match="lock timeout"):
            mirrored()
    assert triggers() == []
