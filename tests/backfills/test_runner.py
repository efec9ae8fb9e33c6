"""One worker in one process, on a real database: what a backfill does to which rows."""

from __future__ import annotations

from threading import Thread
from time import sleep
from typing import Any

import pytest
from django.apps import apps
from django.db import connections
from pytest_django import Settings

from tests.support.backfills import PATH, books, counters, execute, shelf, wait_for
from tests.support.dry_run import plain_connection
from tests.support.logs import events

__all__ = ["shelf"]  # a fixture

pytestmark = pytest.mark.usefixtures("shelf")


def run(name: str, workers: int | None = None) -> Any:
    """Run a backfill in this process; return what is known of it then."""
    from django_confiture.backfills.in_process import run_here
    from django_confiture.backfills.status import statuses

    run_here(PATH + name, using="default", actor="the test", workers=workers)
    (status,) = statuses("default", [PATH + name])
    return status


def run_apart(name: str) -> None:
    """Run a backfill in its own thread."""
    try:
        run(name)
    finally:
        connections.close_all()


@pytest.mark.parametrize(
    "name", ["FillSortTitle", "ProcessSortTitle", "SaveSortTitle", "CountBooks", "CountBooksAbove"]
)
def test_every_row_is_done_once_each_way(name: str) -> None:
    books(2500)
    status = run(name)
    assert (status.state, status.done, status.total, status.percent) == (
        "completed",
        2500,
        2500,
        100,
    )
    assert counters() == {1: 2500}
    if not name.startswith("Count"):
        wrong = "SELECT id FROM shelf_book WHERE sort_title IS DISTINCT FROM lower(title)"
        assert execute(wrong) == []


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("FillLoanNote", "shelf_loan"),
        ("FillCopyLabel", "shelf_copy"),
        ("CountCopies", "shelf_copy"),
    ],
)
def test_keys_that_are_no_numbers(settings: Settings, name: str, table: str) -> None:
    settings.CONFITURE = {"BACKFILLS": {"MAX": 500}}
    execute("INSERT INTO shelf_loan (id, times_filled) SELECT gen_random_uuid(), 0 FROM series")
    execute(
        "INSERT INTO shelf_copy (library, number, times_filled)"
        " SELECT 'Library ' || mod(i, 7), i, 0 FROM series"
    )
    assert run(name).state == "completed"
    assert counters(table) == {1: 3000}


@pytest.mark.parametrize("name", ["CountBooks", "CountCopies", "FillLoanNote"])
def test_a_large_table_is_split_into_ranges(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from django_confiture.backfills.models import BackfillRange
    from django_confiture.backfills.ranges import planning

    monkeypatch.setattr(planning, "ROWS_A_RANGE", 100)
    table = {"B": "shelf_book", "C": "shelf_copy", "L": "shelf_loan"}[
        next(letter for letter in ("Books", "Copies", "Loan") if letter in name)[0]
    ]
    books(3000)
    execute("INSERT INTO shelf_loan (id, times_filled) SELECT gen_random_uuid(), 0 FROM series")
    execute(
        "INSERT INTO shelf_copy (library, number, times_filled)"
        " SELECT 'Library ' || mod(i, 7), i, 0 FROM series"
    )
    execute("ANALYZE")
    assert run(name).state == "completed"
    assert counters(table) == {1: 3000}
    first_pass = BackfillRange.objects.filter(pass_number=1)
    assert len(first_pass) == 16  # eight for each of the two workers
    assert all(0 < each.done < 1000 for each in first_pass)


def test_rows_that_come_meanwhile_are_done_by_a_last_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_confiture.backfills.ranges import passes

    books(1000)
    end_pass = passes.end_pass
    passed: list[str] = []

    def insert_first(*args: Any, **kwargs: Any) -> Any:
        if not passed:  # all ranges are done
            books(300)
            execute("UPDATE shelf_book SET sort_title = NULL, times_filled = 0 WHERE id <= 10")
        passed.append(end_pass(*args, **kwargs))
        return passed[-1]

    monkeypatch.setattr("django_confiture.backfills.runner.end_pass", insert_first)
    status = run("FillSortTitle", workers=1)
    assert (status.state, status.done, status.total) == ("completed", 1310, 1310)
    assert passed == ["running", "completed"]
    assert counters() == {1: 1300}


def test_rows_that_come_faster_than_they_are_done_end_it_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django_confiture.backfills.ranges import passes

    books(10)
    end_pass = passes.end_pass

    def insert_first(*args: Any, **kwargs: Any) -> Any:
        books(10)
        return end_pass(*args, **kwargs)

    monkeypatch.setattr("django_confiture.backfills.runner.end_pass", insert_first)
    monkeypatch.setattr(passes, "MOST_PASSES", 2)
    status = run("FillSortTitle", workers=1)
    assert (status.state, status.done) == ("failed", 20)
    assert status.last_error.startswith("After 2 passes rows still match `where`: ")
    assert status.last_error.endswith("or set mirror = True, then retry.")


@pytest.mark.parametrize("times", [0, 1, 3])
def test_without_where_what_is_inserted_behind_the_last_key_is_done(
    monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    from django_confiture.backfills.ranges import passes

    books(1000)
    end_pass = passes.end_pass
    passed: list[str] = []

    def insert_first(*args: Any, **kwargs: Any) -> Any:
        if len(passed) < times:
            books(300)
        passed.append(end_pass(*args, **kwargs))
        return passed[-1]

    monkeypatch.setattr("django_confiture.backfills.runner.end_pass", insert_first)
    assert run("CountBooks", workers=1).done == 1000 + 300 * times
    assert counters() == {1: 1000 + 300 * times}


@pytest.mark.parametrize("first", [0, 1000])
def test_without_where_rows_that_come_forever_are_left_to_the_new_code(
    monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    from django_confiture.backfills.ranges import passes

    books(first)
    end_pass = passes.end_pass

    def insert_first(*args: Any, **kwargs: Any) -> Any:
        books(10)
        return end_pass(*args, **kwargs)

    monkeypatch.setattr("django_confiture.backfills.runner.end_pass", insert_first)
    status = run("CountBooks", workers=1)
    assert (status.state, status.done) == ("completed", first + 10 * (passes.MOST_PASSES - 1))
    assert counters() == {0: 10, 1: status.done}


def test_rows_that_never_stop_to_match_are_refused_in_the_first_batch() -> None:
    books(2500)
    status = run("NeverDone")
    assert status.state == "failed"
    assert status.last_error == (
        "The 1000 rows of a batch still match `where` after they were done: write what makes them "
        "stop matching, in a field that `where` looks at."
    )
    assert counters() == {0: 2500}


def long_titles(*numbers: int) -> None:
    """Make titles that are too long once they are doubled."""
    execute("UPDATE shelf_book SET title = repeat('x', 60) WHERE id = ANY (%s)", list(numbers))


def keys_at_fault() -> list[Any]:
    from django_confiture.backfills.models import BackfillRowError

    return [error.key for error in BackfillRowError.objects.all()]


def test_rows_at_fault_are_isolated_and_noted_while_the_others_are_done() -> None:
    books(2500)
    long_titles(7, 8, 1700)
    status = run("Broken")
    assert status.state == "failed"
    assert status.last_error == (
        "3 rows can't be done; the first, 7: DataError: value too long for type character "
        "varying(100)"
    )
    assert keys_at_fault() == [[7], [8], [1700]]
    assert (status.done, counters()) == (2497, {0: 3, 1: 2497})


def test_a_row_at_fault_stops_the_backfill_where_it_is_declared_so() -> None:
    books(2500)
    long_titles(1700)
    status = run("BrokenStops")
    assert status.state == "failed"
    assert status.last_error == (
        "Row 1700 can't be done: DataError: value too long for type character varying(100)"
    )
    assert (status.done, counters()) == (1699, {0: 801, 1: 1699})


@pytest.mark.parametrize(("name", "at_fault"), [("Broken", [7, 8, 1700]), ("BrokenStops", [1700])])
def test_retry_does_the_rows_at_fault_and_none_twice(name: str, at_fault: list[int]) -> None:
    from django_confiture.backfills import control

    books(2500)
    long_titles(*at_fault)
    assert run(name).state == "failed"
    execute("UPDATE shelf_book SET title = 'short' WHERE id = ANY (%s)", at_fault)
    control.act("retry", PATH + name, using="default", actor="the test")
    status = run(name)
    assert (status.state, status.done, status.last_error) == ("completed", 2500, None)
    assert (keys_at_fault(), counters()) == ([], {1: 2500})


def test_too_many_rows_at_fault_end_it(settings: Settings) -> None:
    settings.CONFITURE = {"BACKFILLS": {"MAX_ROW_ERRORS": 3}}
    books(500)
    long_titles(*range(100, 200))
    status = run("Broken")
    assert status.last_error == (
        "3 rows can't be done; the last, 102: DataError: value too long for type character "
        "varying(100)"
    )
    assert len(keys_at_fault()) == 3


def test_sql_that_is_wrong_fails_at_once() -> None:
    books(100)
    execute("ALTER TABLE shelf_book RENAME COLUMN sort_title TO other")
    status = run("FillSortTitle")
    execute("ALTER TABLE shelf_book RENAME COLUMN other TO sort_title")
    assert status.state == "failed"
    assert status.last_error.startswith("ProgrammingError: column ")
    assert keys_at_fault() == []


def test_a_table_that_is_not_there_fails_at_once() -> None:
    execute("ALTER TABLE shelf_book RENAME TO away")
    try:
        status = run("FillSortTitle")
    finally:
        execute("ALTER TABLE away RENAME TO shelf_book")
    assert status.state == "failed"
    assert status.last_error.startswith('ProgrammingError: relation "shelf_book" does not exist')


def test_a_lock_in_the_way_makes_batches_smaller_and_leaves_nothing_out(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CONFITURE = {"BACKFILLS": {"LOCK_TIMEOUT": "50ms"}}
    books(2000)
    with plain_connection() as other, other.transaction():
        other.execute("SELECT FROM shelf_book WHERE id = 1500 FOR UPDATE")
        worker = Thread(target=run_apart, args=["FillSortTitle"])
        worker.start()
        wait_for(lambda: counters().get(1, 0) >= 1499)
    worker.join()
    assert counters() == {1: 2000}
    sizes = [facts["batch_size"] for _, facts in events(caplog, "backfill_retry")]
    assert min(sizes) < 100 <= max(sizes)


def test_a_row_that_stays_locked_is_noted_not_forgotten(settings: Settings) -> None:
    settings.CONFITURE = {"BACKFILLS": {"LOCK_TIMEOUT": "10ms", "ATTEMPTS": 3}}
    books(200)
    with plain_connection() as other, other.transaction():
        other.execute("SELECT FROM shelf_book WHERE id = 150 FOR UPDATE")
        status = run("FillSortTitle")
    assert status.state == "failed"
    assert status.last_error == (
        "Row 150 can't be done: OperationalError: canceling statement due to lock timeout CONTEXT: "
        'while updating tuple (0,150) in relation "shelf_book"'
    )
    assert counters() == {0: 51, 1: 149}


def test_a_lost_connection_is_made_again() -> None:
    books(5000)
    killer = Thread(target=_kill_sessions_a_few_times)
    killer.start()
    status = run("SaveSortTitle")
    killer.join()
    assert (status.state, status.done) == ("completed", 5000)
    assert counters() == {1: 5000}


def _kill_sessions_a_few_times() -> None:
    with plain_connection() as other:
        for _ in range(3):
            sleep(0.3)
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE '%shelf_book%' AND pid <> pg_backend_pid()"
                " AND state <> 'idle' AND datname = current_database()"  # not the test's own
            )


def test_no_row_at_all() -> None:
    status = run("FillSortTitle")
    assert (status.state, status.done, status.total, status.percent) == ("completed", 0, 0, 100)


def test_what_is_done_already_is_left_alone() -> None:
    books(2000)
    execute("UPDATE shelf_book SET sort_title = 'mine' WHERE id <= 500")
    assert run("FillSortTitle").done == 1500
    assert counters() == {0: 500, 1: 1500}


@pytest.mark.parametrize("name", ["FillSortTitle", "CountBooks"])
def test_run_again_does_only_what_came_since(name: str) -> None:
    books(2000)
    run(name)
    status = run(name)
    assert (status.state, status.done, counters()) == ("completed", 2000, {1: 2000})
    books(300)
    status = run(name)
    assert (status.state, status.done, counters()) == ("completed", 2300, {1: 2300})


@pytest.mark.parametrize("name", ["FillSortTitle", "CountBooks"])
def test_cancelled_and_started_again_it_goes_on(
    name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_confiture.backfills import control
    from django_confiture.backfills.batching import batches
    from django_confiture.backfills.status import statuses

    settings.CONFITURE = {"BACKFILLS": {"MAX": 500}}
    books(3000)
    do_window = batches.do_window
    windows: list[Any] = []

    def cancel_in_the_second(*args: Any, **kwargs: Any) -> int:
        windows.append(args)
        if len(windows) == 2:
            control.act("cancel", PATH + name, using="default", actor="the test")
        return do_window(*args, **kwargs)

    monkeypatch.setattr(
        "django_confiture.backfills.ranges.range_worker.do_window", cancel_in_the_second
    )
    status = run(name)
    assert (status.state, 0 < status.done < 3000) == ("cancelled", True)
    assert run(name).state == "completed"
    assert statuses("default")[0].done == 3000
    assert counters() == {1: 3000}


def test_process_leaves_a_row_alone_that_was_changed_meanwhile() -> None:
    from tests.backfills.shelf import backfills

    books(100)
    process = backfills.ProcessSortTitle.process
    seen: list[int] = []

    def change_one(self: Any, rows: Any) -> None:
        if not seen:
            with plain_connection() as other:
                other.execute("UPDATE shelf_book SET title = 'NEW' WHERE id = 50")
        seen.append(len(rows))
        process(self, rows)

    backfills.ProcessSortTitle.process = change_one  # type: ignore[method-assign]
    try:
        status = run("ProcessSortTitle")
    finally:
        backfills.ProcessSortTitle.process = process  # type: ignore[method-assign]
    assert (status.state, status.done, seen) == ("completed", 100, [100, 1])
    assert execute("SELECT sort_title FROM shelf_book WHERE id = 50") == [("new",)]
    assert counters() == {1: 100}


def test_the_estimate_at_the_start_knows_a_column_that_was_just_added() -> None:
    from django_confiture.backfills.declared.declaration import load_backfill
    from django_confiture.backfills.ranges.planning import estimated_to_do

    books(20_000)
    execute("ALTER TABLE shelf_book DROP COLUMN sort_title, ADD COLUMN sort_title varchar(100)")
    backfill = load_backfill(PATH + "FillSortTitle")
    total = estimated_to_do(backfill, using="default", apps=apps)
    assert total == pytest.approx(20_000, rel=0.05)
    execute("UPDATE shelf_book SET sort_title = 'done' WHERE mod(id, 4) > 0")
    part = estimated_to_do(backfill, using="default", apps=apps)
    assert part == pytest.approx(5000, rel=0.3)
