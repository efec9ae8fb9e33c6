"""Aliases, other databases, and connections past Django's."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import pytest
from django.db import connection, connections, transaction
from psycopg.pq import TransactionStatus

from django_confiture import (
    DryRunError,
    DryRunExecutor,
    Hook,
    HookContext,
    HookPhase,
    HookResult,
    RunHook,
)
from django_confiture.dry_run.results import SequenceMove
from tests.support.dry_run import (
    migration,
    only_operation,
    parameters,
    plain_connection,
    python,
    rehearse,
    runs,
    why_it_failed,
)


@pytest.mark.parametrize("connected", [True, False], ids=["connected before", "connects in it"])
def test_an_alias_of_the_same_database_sees_what_is_rehearsed(mirror: str, connected: bool) -> None:
    if connected:
        connections[mirror].ensure_connection()

    def body() -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE dry_row ADD added int")
        with transaction.atomic(mirror), connections[mirror].cursor() as cursor:
            cursor.execute("UPDATE dry_row SET added = 1")

    assert why_it_failed(python(body), atomic=False) is None


@pytest.fixture
def lite(untouched: None, tmp_path: Path) -> Iterator[str]:
    """An alias of a file of SQLite with an empty table."""
    settings = {**connections.databases["default"], "OPTIONS": {}}
    settings |= {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "lite.db")}
    connections.databases["lite"] = settings
    try:
        with connections["lite"].cursor() as cursor:
            cursor.execute("CREATE TABLE leak (id integer)")
        yield "lite"
        with connections["lite"].cursor() as cursor:
            assert cursor.execute("SELECT count(*) FROM leak").fetchone() == (0,)
    finally:
        connections["lite"].close()
        del connections["lite"], connections.databases["lite"]


@pytest.mark.parametrize("connected", [True, False], ids=["connected before", "connects in it"])
def test_sqlite_is_rolled_back(lite: str, connected: bool) -> None:
    if not connected:
        connections[lite].close()

    def body() -> None:
        with connections[lite].cursor() as cursor:
            cursor.execute("INSERT INTO leak VALUES (1)")
        with transaction.atomic(lite), connections[lite].cursor() as cursor:
            cursor.execute("INSERT INTO leak VALUES (1)")

    assert why_it_failed(python(body)) is None


@pytest.mark.parametrize("raw", [False, True], ids=["Django's cursor", "the driver's"])
@pytest.mark.parametrize(
    ("sql", "exact"),
    [("INSERT INTO leak VALUES (1)", False), ("SELECT * FROM leak", True)],
)
def test_what_writes_to_sqlite_is_not_exact(lite: str, sql: str, *, exact: bool, raw: bool) -> None:
    def body() -> None:
        if raw:
            connections[lite].ensure_connection()
            connections[lite].connection.execute(sql).fetchall()
            return
        with connections[lite].cursor() as cursor:
            cursor.execute(sql).fetchall()

    operation = only_operation(python(body))

    assert operation.rehearsed == ("exact" if exact else "not_rehearsed")
    assert ("to 'lite', ran SQL: what it wrote" in operation.reason) is not exact


def test_a_script_that_ends_the_transaction_of_sqlite_is_refused(lite: str) -> None:
    """``executescript`` commits before it begins."""

    def body() -> None:
        with connections[lite].cursor() as cursor:
            cursor.execute("INSERT INTO leak VALUES (1)")
            cursor.executescript("INSERT INTO leak VALUES (2)")

    report = rehearse(migration(python(body)))
    assert report.migrations[0].error is not None
    (warning,) = report.warnings
    assert warning.startswith("A COMMIT or ROLLBACK on the alias 'lite' was refused: ")


def test_sqlite_of_another_thread_is_rolled_back(lite: str) -> None:
    def body() -> None:
        def write() -> None:
            with connections[lite].cursor() as cursor:
                cursor.execute("INSERT INTO leak VALUES (1)")

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()

    assert why_it_failed(python(body)) is None


def fail_to_roll_back(alias: str) -> None:
    """Give a connection a backend whose rollback raises."""

    def rollback() -> None:
        vars(connections[alias]).pop("rollback")
        connections[alias].rollback()
        raise RuntimeError(f"the backend of {alias}")

    connections[alias].ensure_connection()
    vars(connections[alias])["rollback"] = rollback


def test_each_alias_is_released_though_the_release_of_another_fails(
    lite: str, tmp_path: Path
) -> None:
    second = {**connections.databases[lite], "NAME": str(tmp_path / "second.db")}
    connections.databases["second"] = second
    connections["other"].close()
    connections[lite].close()

    def body() -> None:
        with connections["other"].cursor() as cursor:
            cursor.execute("CREATE TABLE dry_leak ()")
        for alias in (lite, "second"):  # released in reverse order
            fail_to_roll_back(alias)

    try:
        with pytest.raises(DryRunError, match="the backend of second"):
            DryRunExecutor().run("default", migration(python(body)))
        for alias in (lite, "second"):
            assert not connections[alias].in_atomic_block
        with connections["other"].cursor() as cursor:
            status = connections["other"].connection.info.transaction_status
            assert status is TransactionStatus.IDLE
            cursor.execute("SELECT to_regclass('dry_leak')")
            assert cursor.fetchone() == (None,)
    finally:
        connections["second"].close()
        del connections["second"], connections.databases["second"]


def test_a_connection_of_its_own_gives_up_on_a_lock_that_we_hold(untouched: None) -> None:
    """PostgreSQL sees no deadlock: the one waits for a lock, the other in Python."""

    def body() -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE dry_row ADD added int")
        with psycopg.connect(**parameters(), autocommit=True) as own:
            own.execute("SELECT count(*) FROM dry_row")

    error = why_it_failed(python(body))

    assert error is not None
    assert "lock timeout" in str(error.__cause__)


def test_a_connection_of_its_own_may_read(untouched: None) -> None:
    def body() -> None:
        with psycopg.connect(**parameters()) as own:
            assert own.execute("SELECT count(*) FROM dry_row").fetchone() == (1000,)

    result = DryRunExecutor().run(connection, migration(python(body)))

    assert any("on 1 connection opened past Django's" in each for each in result.warnings)


def test_that_it_may_not_write_is_no_fault_of_the_migration(untouched: None) -> None:
    def body() -> None:
        with psycopg.connect(**parameters()) as own:
            own.execute("UPDATE dry_row SET number = 1")

    report = rehearse(migration(python(body)))

    (result,) = report.migrations
    assert (result.outcome, report.verdict) == ("not_run", "stopped")
    (operation,) = result.operations
    assert operation.rehearsed == "not_rehearsed"
    assert "--clone lets it write" in operation.reason


def test_a_read_only_transaction_of_its_own_is_its_fault(untouched: None) -> None:
    (result,) = rehearse(
        migration(runs("SET TRANSACTION READ ONLY; DELETE FROM dry_row"))
    ).migrations

    assert result.outcome == "failed"


def test_no_callback_is_called_and_each_is_counted(untouched: None) -> None:
    called = []

    def body() -> None:
        transaction.on_commit(lambda: called.append(1))

    for atomic in (True, False):
        result = DryRunExecutor().run(connection, migration(python(body), atomic=atomic))
        assert any("also call 1 on_commit callback." in each for each in result.warnings)
    assert called == []


def test_callbacks_of_hooks_are_counted(untouched: None) -> None:
    result = DryRunExecutor().run(connection, migration(RunHook(Notifies), RunHook(Notifies)))

    assert any("also call 2 on_commit callbacks." in each for each in result.warnings)


class Notifies(Hook):
    """Wants to tell when it is over."""

    phase = HookPhase.AFTER_DDL

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        context.on_commit(lambda: None)
        return HookResult(phase=self.phase.name, hook_name="Notifies")


def test_an_alias_that_a_test_case_has_had_locked_is_held_all_the_same(untouched: None) -> None:
    """Django's TestCase puts a bound method on the connections that it allows again."""
    other: Any = connections["other"]
    other.close()
    left = vars(other).get("connect")  # by a test case before this one
    other.connect = bound = other.connect

    def body() -> None:
        with connections["other"].cursor() as cursor:
            cursor.execute("UPDATE dry_row SET name = 'LEAK'")

    try:
        assert why_it_failed(python(body)) is None
        assert vars(other)["connect"] is bound
    finally:
        del other.connect
        if left is not None:
            other.connect = left


def test_a_connection_of_its_own_that_lives_on_may_write_again(scratch: None) -> None:
    kept: list[psycopg.Connection[Any]] = []

    assert why_it_failed(python(lambda: kept.append(psycopg.connect(**parameters())))) is None

    with kept[0] as own:
        own.execute("UPDATE dry_row SET number = 1")
        assert own.execute("SHOW lock_timeout").fetchone() == ("0",)


@pytest.mark.filterwarnings("ignore:.*deleted while still open:ResourceWarning")
def test_a_connection_of_its_own_that_it_forgets_in_a_transaction_ends(scratch: None) -> None:
    forgotten: list[psycopg.Connection[Any]] = []

    def body() -> None:
        forgotten.append(psycopg.connect(**parameters()))
        forgotten[0].execute("SELECT 1")

    assert why_it_failed(python(body)) is None
    pid = forgotten[0].info.backend_pid
    forgotten.clear()

    until = time.monotonic() + 5
    with plain_connection() as plain:
        here = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        while plain.execute(here, [pid]).fetchone() != (0,):
            assert time.monotonic() < until
            gc.collect()
            time.sleep(0.05)


@pytest.mark.parametrize("connected", [True, False], ids=["connected before", "connects in it"])
@pytest.mark.parametrize("closes", [True, False], ids=["closes it", "leaves it open"])
def test_a_sequence_of_another_database_that_moved_is_named(
    untouched: None, connected: bool, closes: bool
) -> None:
    with plain_connection("other") as plain:
        plain.execute("CREATE TABLE dry_numbered (id serial)")
    connections["other"].close()
    if connected:
        connections["other"].ensure_connection()

    def body() -> None:
        with connections["other"].cursor() as cursor:
            cursor.execute("INSERT INTO dry_numbered DEFAULT VALUES")
        if closes:
            connections["other"].close()

    try:
        report = rehearse(migration(python(body)))
    finally:
        with plain_connection("other") as plain:
            plain.execute("DROP TABLE dry_numbered")

    moved = SequenceMove(parameters("other")["dbname"], "dry_numbered_id_seq", None, 1)
    assert report.sequences_moved[-1] == moved


@pytest.fixture
def strangers_wait() -> Iterator[None]:
    """A session that waits for another, neither of them ours."""
    lock = "SELECT pg_advisory_lock(1)"
    with plain_connection() as holder, plain_connection() as waiter:
        holder.execute(lock)
        thread = threading.Thread(target=waiter.execute, args=[lock])
        thread.start()
        try:
            yield
        finally:
            holder.execute("SELECT pg_advisory_unlock(1)")
            thread.join()


def test_the_watchdog_asks_who_is_held_while_another_is(
    untouched: None, strangers_wait: None
) -> None:
    """Its thread is stopped where it goes through them, and the migration connects meanwhile.

    It goes through them only while a session waits, for anyone.
    """
    goes_through = threading.Event()
    has_connected = threading.Event()
    main = threading.main_thread()

    def stop_within(frame: FrameType, event: str, _arg: object) -> Any:
        if threading.current_thread() is main or "weakref" not in frame.f_code.co_filename:
            return None
        if frame.f_code.co_name == "keys" and event == "line" and frame.f_lineno > first_line:
            goes_through.set()
            has_connected.wait(0.5)
        return stop_within

    first_line = weakref.WeakKeyDictionary.keys.__code__.co_firstlineno + 2
    opened: list[psycopg.Connection[Any]] = []

    def body() -> None:
        opened.extend(psycopg.connect(**parameters()) for _ in range(3))
        assert goes_through.wait(10)
        opened.append(psycopg.connect(**parameters()))
        has_connected.set()
        time.sleep(0.2)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    threading.settrace(stop_within)
    try:
        assert why_it_failed(python(body)) is None
    finally:
        threading.settrace(None)
        for each in opened:
            each.close()
