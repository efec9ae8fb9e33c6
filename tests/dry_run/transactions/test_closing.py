"""close() in a migration, the driver's autocommit, and time-outs of idle transactions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest
from django.db import OperationalError, close_old_connections, connection, transaction
from psycopg import sql

from tests.cases.migrations_on_disk import query
from tests.support.dry_run import (
    for_real,
    migration,
    only_operation,
    plain_connection,
    python,
    rehearse,
    runs,
)

CLOSED = "the connection is closed"


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def closes() -> None:
    connection.close()
    execute("UPDATE dry_row SET number = 1 WHERE id = 1")


def closes_old_ones() -> None:
    close_old_connections()
    execute("UPDATE dry_row SET number = 1 WHERE id = 1")


def closes_in_a_block() -> None:
    with transaction.atomic():
        connection.close()
        execute("SELECT 1")


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("code", "atomic"), [(closes, True), (closes_old_ones, True), (closes_in_a_block, False)]
)
def test_nothing_can_be_sent_after_close_in_a_block(code: Callable[[], None], atomic: bool) -> None:
    (result,) = rehearse(migration(python(code), atomic=atomic)).migrations

    assert result.outcome == "failed"
    assert result.error is not None
    assert result.error.message == CLOSED
    assert connection.connection is not None
    assert CLOSED in for_real(migration(python(code), atomic=atomic))


@pytest.mark.usefixtures("scratch")
def test_a_block_that_was_closed_ends_and_all_goes_on() -> None:
    def code() -> None:
        execute("UPDATE dry_row SET number = 7 WHERE id = 1")
        with pytest.raises(Exception, match=CLOSED):
            closes_in_a_block()
        assert connection.get_autocommit()
        with transaction.atomic():
            assert query("SELECT number FROM dry_row WHERE id = 1") == [(7,)]

    (result,) = rehearse(migration(python(code), atomic=False)).migrations

    assert result.outcome == "passed", result.error


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("before", "rehearsed"),
    [
        ("SELECT 1", "exact"),
        ("CREATE TEMP TABLE dry_t (id int)", "not_rehearsed"),
        ("SET dry.mode = 'a'", "not_rehearsed"),
        ("PREPARE dry_p AS SELECT 1", "not_rehearsed"),
        ("SELECT pg_advisory_lock(77)", "not_rehearsed"),
    ],
)
def test_close_outside_a_block_loses_what_the_session_holds(before: str, rehearsed: str) -> None:
    plan = migration(runs(before), python(closes), atomic=False)

    _first, second = rehearse(plan).migrations[0].operations

    assert second.rehearsed == rehearsed


@pytest.mark.usefixtures("scratch")
def test_the_driver_is_in_the_mode_that_it_is_in_for_real() -> None:
    seen: list[bool] = []
    note = python(lambda: seen.append(connection.connection.autocommit))

    rehearse(migration(note), migration(note, atomic=False, name="0002_x"))

    assert seen == [False, True]
    assert connection.connection.autocommit


@pytest.mark.usefixtures("scratch")
def test_the_drivers_mode_can_be_set_outside_a_transaction() -> None:
    def code() -> None:
        raw = connection.connection
        raw.autocommit = True
        raw.autocommit = False
        execute("UPDATE dry_row SET number = 5 WHERE id = 1")
        raw.rollback()
        execute("UPDATE dry_row SET number = 6 WHERE id = 2")
        raw.commit()
        raw.autocommit = True
        seen.append(query("SELECT number FROM dry_row WHERE id IN (1, 2) ORDER BY id"))

    seen: list[object] = []
    plan = migration(python(code), atomic=False)
    assert rehearse(plan).migrations[0].error is None
    assert for_real(plan) == ""
    assert seen == [[(1,), (6,)]] * 2
    assert connection.connection.autocommit


@pytest.mark.usefixtures("scratch")
def test_the_drivers_mode_can_not_be_set_in_a_transaction() -> None:
    def code() -> None:
        execute("SELECT 1")
        connection.connection.autocommit = True

    (result,) = rehearse(migration(python(code))).migrations

    assert result.error is not None
    assert "can't change 'autocommit' now" in result.error.message
    assert "can't change 'autocommit' now" in for_real(migration(python(code)))


@pytest.mark.usefixtures("scratch")
def test_an_isolation_level_of_the_driver_is_not_exact() -> None:
    def code() -> None:
        connection.connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE

    operation = only_operation(python(code), atomic=False)
    connection.close()

    assert operation.rehearsed == "not_rehearsed"
    assert "how later transactions begin" in operation.reason


@pytest.mark.usefixtures("scratch")
def test_a_cursor_of_the_server_may_lock_rows() -> None:
    """Outside a transaction it would be WITH HOLD, which PostgreSQL refuses there."""

    def code() -> None:
        with connection.chunked_cursor() as cursor:
            cursor.execute("SELECT id FROM dry_row FOR UPDATE")
            assert len(cursor.fetchmany(10)) == 10

    operation = only_operation(python(code))

    assert [each.mode for s in operation.statements for each in s.locks] == ["RowShareLock"]
    (refused,) = rehearse(migration(python(code), atomic=False)).migrations
    assert refused.error is not None
    assert "FOR UPDATE is not supported" in refused.error.message


# Timeouts of whole transactions.


@contextmanager
def timeout_of_role(setting: str) -> Iterator[None]:
    with plain_connection() as plain:
        role = sql.Identifier(str(plain.info.user))
        base = sql.Identifier(plain.info.dbname)
        of_role = sql.SQL("ALTER ROLE {} IN DATABASE {} ").format(role, base)
        plain.execute(of_role + sql.SQL(f"SET {setting}"))
    connection.close()
    try:
        yield
    finally:
        with plain_connection() as plain:
            plain.execute(of_role + sql.SQL("RESET ALL"))
        connection.close()


@pytest.fixture
def _idle_timeout(scratch: None) -> Iterator[None]:
    with timeout_of_role("idle_in_transaction_session_timeout = '200ms'"):
        yield


def works() -> None:
    execute("UPDATE dry_row SET number = 1 WHERE id = 1")
    time.sleep(0.3)
    execute("UPDATE dry_row SET number = 2 WHERE id = 1")


@pytest.mark.usefixtures("_idle_timeout")
@pytest.mark.parametrize("atomic", [True, False])
def test_the_server_ends_idle_transactions_alone(atomic: bool) -> None:
    (result,) = rehearse(migration(python(works), atomic=atomic)).migrations
    error = for_real(migration(python(works), atomic=atomic))

    assert (result.error is not None) is atomic
    assert bool(error) is atomic
    if result.error is not None:
        assert result.outcome == "failed"
        assert result.error.type == psycopg.errors.IdleInTransactionSessionTimeout.__name__


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize("atomic", [True, False])
def test_the_server_ends_idle_sessions_outside_of_transactions(atomic: bool) -> None:
    with timeout_of_role("idle_session_timeout = '200ms'"):
        (result,) = rehearse(migration(python(works), atomic=atomic)).migrations
        error = for_real(migration(python(works), atomic=atomic))

    assert bool(error) is not atomic
    assert (result.error is not None) is bool(error)
    if result.error is not None:
        assert result.outcome == "failed"
        assert result.error.type == psycopg.errors.IdleSessionTimeout.__name__
        assert result.error.message in error


WRITES = "UPDATE dry_row SET number = number + 1 WHERE id = 1"


def swallows() -> None:
    execute(WRITES)
    time.sleep(1.0)
    with suppress(OperationalError):
        execute(WRITES)
    execute(WRITES)


def swallows_at_its_end() -> None:
    execute(WRITES)
    time.sleep(1.0)
    with suppress(OperationalError):
        execute(WRITES)


def swallows_in_a_savepoint() -> None:
    execute(WRITES)
    with suppress(OperationalError), transaction.atomic():
        time.sleep(1.0)
        execute(WRITES)
    execute(WRITES)


def swallows_and_closes() -> None:
    execute(WRITES)
    time.sleep(1.0)
    with suppress(OperationalError):
        execute(WRITES)
    connection.close()
    execute(WRITES)


def swallows_the_error_of_a_block() -> None:
    execute(WRITES)
    with suppress(OperationalError), transaction.atomic():
        execute(WRITES)
        time.sleep(1.0)
        execute(WRITES)
    execute(WRITES)


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("timeout", "atomic"),
    [
        ("idle_session_timeout", False),
        ("idle_in_transaction_session_timeout", True),
        ("idle_in_transaction_session_timeout", False),
    ],
)
@pytest.mark.parametrize(
    "code",
    [
        swallows,
        swallows_at_its_end,
        swallows_in_a_savepoint,
        swallows_and_closes,
        swallows_the_error_of_a_block,
    ],
)
def test_who_swallows_the_end_of_a_session_gets_no_further(
    code: Callable[[], None], timeout: str, atomic: bool
) -> None:
    with timeout_of_role(f"{timeout} = '800ms'"):
        (result,) = rehearse(migration(python(code), atomic=atomic)).migrations
        error = for_real(migration(python(code), atomic=atomic))

    assert result.outcome == ("failed" if error else "passed"), error
    if result.error is not None:
        assert result.error.message in error


@pytest.mark.usefixtures("scratch")
def test_the_server_ends_long_transactions() -> None:
    """The dry run's own lasts longer than each of the migrations."""
    if not query("SELECT FROM pg_settings WHERE name = 'transaction_timeout'"):
        pytest.skip("PostgreSQL has it from 17 on")
    sleeps = runs("SELECT pg_sleep(0.3)")
    short = [migration(sleeps), migration(sleeps, name="0002_x"), migration(sleeps, name="0003_x")]
    long = migration(sleeps, sleeps, sleeps, runs("SELECT 1"))

    with timeout_of_role("transaction_timeout = '700ms'"):
        assert [each.outcome for each in rehearse(*short).migrations] == ["passed"] * 3
        (result,) = rehearse(long).migrations
        assert for_real(*short) == ""
        connection.close()
        error = for_real(long)

    assert result.error is not None
    assert result.outcome == "failed"
    assert result.error.type == psycopg.errors.TransactionTimeout.__name__
    assert "terminating connection due to transaction timeout" in error


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("script", "rehearsed"),
    [
        ("SET idle_in_transaction_session_timeout = '20ms'", "not_rehearsed"),
        ("SET idle_session_timeout = 20", "not_rehearsed"),
        ("SET idle_in_transaction_session_timeout = 0", "exact"),
    ],
)
def test_a_timeout_that_would_end_the_dry_run_is_not_set(script: str, rehearsed: str) -> None:
    pause = python(lambda: time.sleep(0.1))
    plan = [migration(runs(script)), migration(pause, runs("SELECT 1"), name="0002_x")]

    first, second = rehearse(*plan).migrations

    assert first.operations[0].rehearsed == rehearsed
    assert second.outcome == "passed"


@pytest.mark.usefixtures("scratch")
def test_prepare_transaction_fails_where_the_server_has_none() -> None:
    plan = migration(runs("INSERT INTO dry_parent VALUES (77)"), runs("PREPARE TRANSACTION 'dry'"))

    (result,) = rehearse(plan).migrations

    assert query("SHOW max_prepared_transactions") == [("0",)]
    assert result.error is not None
    assert "prepared transactions are disabled" in result.error.message
    assert "prepared transactions are disabled" in for_real(plan)
