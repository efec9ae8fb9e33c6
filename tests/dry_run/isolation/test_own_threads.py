"""What a migration's own threads do: said to be unmeasured; they are no other sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import pytest
from django.db import connection, connections
from pytest_django import Settings

from django_confiture.dry_run.isolation import threads
from django_confiture.dry_run.isolation.let_go import REFUSED
from django_confiture.dry_run.isolation.threads import LET_GO
from django_confiture.exceptions import DryRunRefused
from django_confiture.management.exit_codes import exit_code
from tests.support.dry_run import (
    executes,
    migration,
    only_operation,
    passed,
    plain_connection,
    process_state,
    python,
    rehearse,
    runs,
)

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper

pytestmark = pytest.mark.usefixtures("scratch")


@pytest.fixture(autouse=True)
def nothing_is_patched_once_threads_are_over() -> Iterator[None]:
    unpatched = process_state()
    yield
    end = time.monotonic() + 20
    while process_state() != unpatched:
        assert time.monotonic() < end
        time.sleep(0.05)


UPDATES = "UPDATE dry_row SET number = 0"


def in_a_thread(sql: str) -> Callable[[], None]:
    def send() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
        finally:
            connection.close()

    def code() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(send).result()

    return code


def test_what_it_writes_is_said_to_be_unmeasured() -> None:
    operation = only_operation(python(in_a_thread("UPDATE dry_row SET number = 0")))
    assert operation.rehearsed == "not_rehearsed"
    assert "Another connection of this process, to 'default', ran SQL" in operation.reason


def test_the_rows_that_it_writes_are_counted() -> None:
    code = [f"{UPDATES} WHERE id <= 400", f"{UPDATES} WHERE id > 980", "DELETE FROM dry_child"]

    result = passed(*(python(in_a_thread(each)) for each in code), python(in_a_thread("SELECT 1")))

    said = [each for each in result.warnings if each.startswith("Another connection")]
    assert [each.partition(" What it locked")[0] for each in said] == [
        "Another connection of this process, to 'default', wrote 420 rows of dry_row.",
        "Another connection of this process, to 'default', wrote 100 rows of dry_child.",
    ]


def test_what_it_reads_changes_nothing() -> None:
    operation = only_operation(python(in_a_thread("SELECT name FROM dry_row")))
    assert operation.rehearsed == "exact"


def test_it_does_not_see_what_earlier_migrations_have_changed() -> None:
    report = rehearse(
        migration(runs(UPDATES), name="0001_update"),
        migration(python(in_a_thread("SELECT number FROM dry_row")), name="0002_read"),
    )
    (operation,) = report.migrations[1].operations
    assert operation.rehearsed == "not_rehearsed"
    assert "does not see what earlier migrations of this dry run have changed" in operation.reason


@pytest.mark.parametrize("name", ["dry_row", '"dry_Row"'])
@pytest.mark.parametrize("together", [True, False])
def test_it_waits_for_the_migration_itself(
    settings: Settings, name: str, *, together: bool
) -> None:
    with plain_connection() as plain:
        plain.execute('CREATE TABLE "dry_Row" (number int)')
    alter = f"ALTER TABLE {name} ADD extra int"
    settings.CONFITURE = {**settings.CONFITURE, "DRY_RUN": {"LOCK_TIMEOUT": "500ms"}}
    threaded = python(in_a_thread(f"UPDATE {name} SET number = 0"))
    if together:
        report = rehearse(migration(runs(alter), threaded))
    else:
        report = rehearse(
            migration(runs(alter), name="0001_alter"), migration(threaded, name="0002_threads")
        )

    assert exit_code(report) == (1 if together else 2)
    assert report.yielded_to == ()
    (said,) = (each for each in report.warnings if "of this process waited" in each)
    assert f"RowExclusiveLock on {name}, which the migrations' own connection holds" in said


@pytest.mark.parametrize("pooled", [False, True], ids=["thread", "pool"])
@pytest.mark.parametrize("fails", [False, True], ids=["passes", "fails"])
def test_a_thread_that_outlives_its_operation_leaves_nothing_behind(
    *, fails: bool, pooled: bool
) -> None:
    ended = threading.Event()
    pool = ThreadPoolExecutor(1)

    def work() -> None:
        time.sleep(1)
        with connection.cursor() as cursor:
            cursor.execute(UPDATES)
        connection.close()
        ended.set()

    def code() -> None:
        if pooled:
            pool.submit(work)
        else:
            threading.Thread(target=work).start()
        if fails:
            raise ValueError("it fails")

    result = rehearse(migration(python(code))).migrations[0]

    assert ended.wait(20)
    pool.shutdown()
    with plain_connection() as plain:
        (row,) = plain.execute("SELECT count(*) FROM dry_row WHERE number = 0").fetchall()
    assert row == (0,)
    assert result.outcome == ("failed" if fails else "passed")
    if not fails:
        assert result.operations[0].rehearsed == "not_rehearsed"
        assert "was still at work when this ended" in result.operations[0].reason


def test_a_thread_that_goes_on_for_too_long_is_let_go_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_LONGEST_S", 0.2)
    over = threading.Event()

    def code() -> None:
        threading.Thread(target=over.wait).start()

    try:
        report = rehearse(migration(python(code), python(lambda: None)))
    finally:
        over.set()

    assert [e.rehearsed for e in report.migrations[0].operations] == ["not_rehearsed"] * 2
    assert LET_GO in report.warnings


def sends(sql: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


def sends_past_django(sql: str) -> None:
    with plain_connection() as plain:
        plain.execute(sql)


def sends_in_a_child(sql: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(sends, sql).result()


def starts_as(kind: str, work: Callable[[], None]) -> Future[None]:
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
            done.set_result(None)
        except DryRunRefused as error:
            done.set_exception(error)
        finally:
            connection.close()

    if kind == "pool":
        ThreadPoolExecutor(1).submit(run)
    else:
        threading.Thread(target=run, daemon=kind == "daemon").start()
    return done


@pytest.mark.parametrize("before", [True, False], ids=["connected", "not connected"])
@pytest.mark.parametrize("send", [sends, sends_past_django, sends_in_a_child])
@pytest.mark.parametrize("kind", ["thread", "daemon", "pool"])
def test_what_one_sends_after_the_dry_run_is_refused(
    monkeypatch: pytest.MonkeyPatch, kind: str, send: Callable[[str], None], *, before: bool
) -> None:
    """Also where another dry run has begun and ended meanwhile."""
    monkeypatch.setattr(threads, "_LONGEST_S", 0.2)
    over, begun = threading.Event(), threading.Event()
    done: list[Future[None]] = []

    def work() -> None:
        if before:
            connection.ensure_connection()
        begun.set()
        over.wait()
        send(UPDATES)

    def code() -> None:
        done.append(starts_as(kind, work))
        begun.wait()

    try:
        report = rehearse(migration(python(code)))
        again = rehearse(migration(python(lambda: None)))
    finally:
        over.set()

    assert str(done[0].exception()) == REFUSED
    assert [LET_GO in each.warnings for each in (report, again)] == [kind != "daemon", False]
    with plain_connection() as plain:
        (row,) = plain.execute("SELECT count(*) FROM dry_row WHERE number = 0").fetchall()
    assert row == (0,)


def test_a_pool_that_was_there_before_works_for_others_once_its_job_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_LONGEST_S", 0.2)
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        rehearse(migration(python(lambda: pool.submit(over.wait).done())))
        over.set()
        pool.submit(in_a_thread("SELECT 1")).result()


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_pool_that_the_dry_run_opens_serves_the_site_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its workers are daemons, and they connect."""
    wrapper = cast("DatabaseWrapper", connections["other"])
    wrapper.close()
    options = {**wrapper.settings_dict["OPTIONS"], "pool": {"min_size": 1, "max_size": 2}}
    monkeypatch.setitem(wrapper.settings_dict, "OPTIONS", options)
    table = "CREATE TABLE dry_pooled (id int)"

    try:
        report = rehearse(migration(executes(table, using="other")))
        assert report.migrations[0].error is None
        wrapper.close()
        pool = wrapper.pool
        with pool.connection() as one, pool.connection() as two:
            for each in (one, two):
                each.execute(table)
                each.execute("DROP TABLE dry_pooled")
    finally:
        wrapper.close()
        wrapper.close_pool()
