"""A process that makes a dry run may have other threads: what they do is theirs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction

from django_confiture import DryRunExecutor
from django_confiture.exceptions import DryRunRefused
from django_confiture.management.exit_codes import exit_code
from tests.support.dry_run import migration, parameters, plain_connection, python, rehearse

pytestmark = pytest.mark.usefixtures("scratch")

UPDATE = "UPDATE dry_row SET name = %s WHERE id = 5"


@contextmanager
def thread_of_others(work: Callable[[], None]) -> Iterator[threading.Event]:
    """Start a thread that works when it is told; at the end wait for it."""
    go, errors = threading.Event(), []

    def run() -> None:
        go.wait(20)
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield go
    finally:
        go.set()
        thread.join()
    if errors:
        raise errors[0]


def go_and_wait(go: threading.Event, done: threading.Event) -> Callable[[], None]:
    def body() -> None:
        go.set()
        assert done.wait(20)

    return body


def name_of_5() -> Any:
    with plain_connection() as conn:
        return conn.execute("SELECT name FROM dry_row WHERE id = 5").fetchone()


@pytest.mark.parametrize("alias", ["default", "other"])
def test_another_thread_commits_through_django(alias: str) -> None:
    done = threading.Event()

    def work() -> None:
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute(UPDATE, ["kept"])
        done.set()

    with thread_of_others(work) as go:
        rehearse(migration(python(go_and_wait(go, done))))

    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT name FROM dry_row WHERE id = 5")
        assert cursor.fetchone() == ("kept",)


def test_another_thread_commits_through_connections_of_its_own() -> None:
    done = threading.Event()
    with psycopg.connect(**parameters()) as before:  # an idle one, such as a pool's

        def work() -> None:
            before.execute(UPDATE, ["kept"])
            before.commit()
            with psycopg.connect(**parameters()) as new:
                new.execute("UPDATE dry_row SET number = 77 WHERE id = 5")
            child = threading.Thread(target=work_of_child)
            child.start()
            child.join()
            done.set()

        def work_of_child() -> None:
            with psycopg.connect(**parameters()) as new:
                new.execute("UPDATE dry_row SET number = number + 1 WHERE id = 5")

        with thread_of_others(work) as go:
            result = rehearse(migration(python(go_and_wait(go, done))))

    assert not result.warnings
    with plain_connection() as conn:
        row = conn.execute("SELECT name, number FROM dry_row WHERE id = 5").fetchone()
    assert row == ("kept", 78)


def test_a_thread_that_a_migration_starts_is_held() -> None:
    def work() -> None:
        with connections["other"].cursor() as cursor:
            cursor.execute(UPDATE, ["leak"])
        connections.close_all()

    def body() -> None:
        child = threading.Thread(target=work)
        child.start()
        child.join()

    rehearse(migration(python(body)))

    with connections["other"].cursor() as cursor:
        cursor.execute("SELECT name FROM dry_row WHERE id = 5")
        assert cursor.fetchone() != ("leak",)


def write_from_here() -> None:
    with connection.cursor() as cursor:
        cursor.execute(UPDATE, ["leak"])


@pytest.mark.parametrize("is_open", [False, True], ids=["new connection", "open connection"])
@pytest.mark.parametrize("way", ["pool", "loop"])
def test_what_a_migration_submits_to_a_thread_from_before_is_held(
    way: str, *, is_open: bool
) -> None:
    """Such a thread may have a connection, which can't be rolled back, so it can't write."""
    with ThreadPoolExecutor(1) as pool:

        def submit(code: Callable[[], None]) -> None:
            if way == "pool":
                pool.submit(code).result()
            else:
                asyncio.run(sync_to_async(code)())

        submit(lambda: connection.ensure_connection())
        if not is_open:
            submit(lambda: connection.close())
        try:
            report = rehearse(migration(python(lambda: submit(write_from_here)), atomic=False))
            assert name_of_5() == ("name 5",)
            submit(write_from_here)
        finally:
            submit(lambda: connection.close())

    (operation,) = report.migrations[0].operations
    assert operation.rehearsed == "not_rehearsed"
    assert exit_code(report) == (2 if is_open else 0)
    assert name_of_5() == ("leak",)


def test_a_connection_from_before_is_held_as_soon_as_a_migration_uses_it() -> None:
    with psycopg.connect(**parameters()) as before:

        def body() -> None:
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                before.execute(UPDATE, ["leak"])
            before.rollback()

        result = rehearse(migration(python(body)))
        before.execute(UPDATE, ["later"])
        before.commit()

    assert any("on 1 connection opened" in each for each in result.warnings)
    assert name_of_5() == ("later",)


def test_a_thread_that_goes_on_is_waited_for_and_may_not_write() -> None:
    refused: list[psycopg.Error] = []

    def busy() -> None:
        with psycopg.connect(**parameters()) as own:
            own.execute("SELECT pg_sleep(2)")
            own.rollback()
            try:
                own.execute(UPDATE, ["written"])
            except psycopg.Error as error:
                refused.append(error)

    def body() -> None:
        threading.Thread(target=busy).start()
        time.sleep(0.3)

    assert rehearse(migration(python(body))).outcome == "passed"
    assert [type(each) for each in refused] == [psycopg.errors.ReadOnlySqlTransaction]
    assert name_of_5() != ("written",)


def test_a_second_dry_run_in_the_process_is_refused() -> None:
    refused: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            DryRunExecutor().run("other", migration(python(lambda: None)))
        except DryRunRefused as error:
            refused.append(error)
        done.set()

    with thread_of_others(work) as go:
        assert rehearse(migration(python(go_and_wait(go, done)))).outcome == "passed"
    assert [str(each) for each in refused] == [
        "Another dry run is running in this process; wait until it ends, or use another process."
    ]
    DryRunExecutor().run(connection, migration(python(lambda: None)))
