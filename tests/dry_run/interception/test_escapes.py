"""Ways past the recorder, and past the transaction: none of them writes, none outlives the run."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.support.dry_run import ENDED, LEAK, check, plain_connection, python, runs, why_it_failed

pytestmark = pytest.mark.usefixtures("untouched")


def below_the_driver(script: str) -> None:
    """Send a script where nothing of psycopg's or ours sees it."""
    connection.connection.pgconn.exec_(script.encode())


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize(
    ("script", "error"),
    [
        (f"ROLLBACK; {LEAK}", ENDED),
        (f"ROLLBACK; BEGIN; {LEAK}; COMMIT", "current transaction is aborted"),
        (f"{LEAK}; COMMIT; {LEAK}", ENDED),
    ],
    ids=["rollback", "its own transaction", "commit"],
)
def test_the_transaction_ended_below_the_driver(script: str, error: str, atomic: bool) -> None:
    check(why_it_failed(python(lambda: below_the_driver(script)), atomic=atomic), error)


@pytest.mark.parametrize(
    "lock",
    [
        "pg_advisory_lock(7)",
        "pg_advisory_lock(-7)",
        "pg_advisory_lock(9223372036854775807)",
        "pg_advisory_lock(-1, 2147483647)",
        "pg_advisory_lock_shared(7)",
        "pg_try_advisory_lock(7, 7)",
        "count(pg_advisory_lock(7)) FROM generate_series(1, 3)",
    ],
)
def test_advisory_locks_are_released(lock: str) -> None:
    assert why_it_failed(runs(f"SELECT {lock}")) is None


def test_advisory_locks_of_before_are_kept() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1), pg_advisory_lock(1)")
    try:
        assert why_it_failed(runs("SELECT pg_advisory_lock(2)")) is None
        with plain_connection() as plain:
            taken = "SELECT pg_try_advisory_lock(1), pg_try_advisory_lock(2)"
            assert plain.execute(taken).fetchone() == (False, True)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_all()")


def test_prepared_statements_are_forgotten() -> None:
    with connection.cursor() as cursor:
        cursor.execute("PREPARE dry_kept AS SELECT 1")
    try:
        assert why_it_failed(runs('PREPARE "dry P" AS SELECT 1')) is None
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM pg_prepared_statements WHERE from_sql")
            assert cursor.fetchall() == [("dry_kept",)]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DEALLOCATE dry_kept")
