"""What the actions on a backfill refuse, and what they leave where they need not do anything."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError

from django_confiture.exceptions import BackfillError
from tests.support.backfills import PATH, books, execute, shelf

__all__ = ["shelf"]  # a fixture

pytestmark = pytest.mark.usefixtures("shelf")
FILL = PATH + "FillSortTitle"


def prepared(state: str = "queued", **values: Any) -> Any:
    from django_confiture.backfills import control
    from django_confiture.backfills.models import BackfillRun

    run = control.prepare(FILL, using="default", actor="the test")
    BackfillRun.objects.update(state=state, **values)
    run.refresh_from_db()
    return run


def test_a_paused_one_is_not_started_behind_the_back_of_who_paused_it() -> None:
    from django_confiture.backfills import control

    prepared("paused")
    with pytest.raises(BackfillError, match="FillSortTitle is paused; use resume"):
        control.start(FILL, using="default", actor="the test")


@pytest.mark.parametrize("name", ["FillSortTitle", "ProcessSortTitle", "SaveSortTitle"])
def test_one_whose_column_is_not_there_yet_is_not_started(name: str) -> None:
    from django_confiture.backfills import control
    from django_confiture.backfills.models import BackfillRun

    execute("ALTER TABLE shelf_book RENAME COLUMN sort_title TO sorted_by")
    with pytest.raises(BackfillError) as refused:
        control.start(PATH + name, using="default", actor="the test")
    execute("ALTER TABLE shelf_book RENAME COLUMN sorted_by TO sort_title")

    assert f"{name} can't ask for its rows: column shelf_book.sort_title" in str(refused.value)
    assert "Apply the migration that adds what is missing" in str(refused.value)
    assert not BackfillRun.objects.exists()


def test_what_was_never_started_is_forgotten_without_a_trace() -> None:
    from django_confiture.backfills import control
    from django_confiture.backfills.models import BackfillEvent

    control.forget(FILL, using="default", actor="the test")
    assert not BackfillEvent.objects.exists()


def worker_of(host: str, process: object) -> str:
    return f"{host}:{process}:abcd1234"


@pytest.mark.parametrize(
    ("worker", "is_free"),
    [
        (worker_of(socket.gethostname(), os.getpid()), False),
        (worker_of(socket.gethostname(), 2**22 + 1), True),  # above the highest process id
        (worker_of(socket.gethostname(), "x"), False),
        (worker_of("another", 2**22 + 1), False),
        (worker_of(socket.gethostname(), 1), False),  # alive, and another user's perhaps
    ],
    ids=["its own", "gone", "not a number", "on another host", "alive"],
)
def test_a_lease_is_taken_before_its_end_where_its_process_is_known_to_be_gone(
    worker: str, is_free: bool
) -> None:
    from django_confiture.backfills.models import BackfillRange
    from django_confiture.backfills.ranges.leases import claim

    run = prepared("running")
    duration = timedelta(hours=1)
    BackfillRange.objects.create(run_id=run.pk, position=0, pass_number=1, low=None, high=[9])
    assert claim(run, using="default", worker=worker, duration=duration) is not None
    again = claim(run, using="default", worker="me:1:ab", duration=duration)
    assert (again is not None) is is_free


def test_the_time_that_remains_follows_from_the_rate() -> None:
    from django_confiture.backfills.status import _remaining

    assert _remaining(100, 350, 20.0, completed=False) == 12.5
    assert _remaining(100, 350, None, completed=False) is None
    assert _remaining(100, 90, 20.0, completed=True) == 0


def test_a_task_of_a_worker_that_is_no_longer_wanted_takes_no_link() -> None:
    from django_confiture.backfills.chains import begin_chains, take

    run = prepared()
    first, second = begin_chains(run, using="default", wanted=2)
    begin_chains(run, using="default", wanted=1)
    run.refresh_from_db()
    assert take(second, run, using="default") is None
    assert take(first, run, using="default") is not None
    assert take(first, run, using="default") is None  # a second task with the same link


def test_queueing_what_has_ended_does_nothing() -> None:
    from django_confiture.backfills import queueing

    said = queueing.enqueue(prepared("completed"), using="default")
    assert said.startswith(f"{FILL} is completed.")


# Errors that are worth another try.


def raising(state: str) -> None:
    execute(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")


@pytest.mark.parametrize(
    ("state", "error", "tries"), [("55P03", OperationalError, 3), ("23505", IntegrityError, 1)]
)
def test_only_what_may_end_by_itself_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, state: str, error: type[Exception], tries: int
) -> None:
    from django_confiture.backfills import error_kinds

    monkeypatch.setattr(error_kinds, "FIRST_DELAY", 0.001)
    tried = []

    def action() -> None:
        tried.append(state)
        raising(state)

    with pytest.raises(error):
        error_kinds.with_retries(action, using="default", attempts=3)
    assert len(tried) == tries


def test_a_connection_that_was_ended_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_confiture.backfills import error_kinds

    monkeypatch.setattr(error_kinds, "FIRST_DELAY", 0.001)
    tried: list[int] = []

    def action() -> list[Any]:
        tried.append(1)
        if len(tried) == 1:
            execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return execute("SELECT 7")

    assert error_kinds.with_retries(action, using="default", attempts=3) == [(7,)]
    assert len(tried) == 2


# Estimates.


def test_few_rows_in_a_large_table_are_not_taken_for_none() -> None:
    from django.apps import apps

    from django_confiture.backfills.declared.declaration import load_backfill
    from django_confiture.backfills.ranges.planning import estimated_to_do

    books(5000)
    execute("UPDATE shelf_book SET sort_title = 'done'")
    execute("ANALYZE shelf_book")
    backfill = load_backfill(FILL)
    assert estimated_to_do(backfill, using="default", apps=apps) <= 2


def test_a_table_behind_a_view_is_filled_without_a_sample() -> None:
    from django_confiture.backfills.in_process import run_here

    books(300)
    execute("ALTER TABLE shelf_book RENAME TO shelf_tome")
    execute("CREATE VIEW shelf_book AS SELECT * FROM shelf_tome")
    try:
        assert run_here(FILL, using="default", actor="the test") == "completed"
        assert execute("SELECT DISTINCT times_filled FROM shelf_tome") == [(1,)]
    finally:
        execute("DROP VIEW shelf_book")
        execute("ALTER TABLE shelf_tome RENAME TO shelf_book")
