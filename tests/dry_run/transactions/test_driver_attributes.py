"""What the driver allows before Django's transaction has sent its first statement."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook
from tests.cases.migrations_on_disk import query
from tests.support.dry_run import for_real, migration, plain_connection, python, rehearse, runs

pytestmark = pytest.mark.usefixtures("scratch")

WRITES = "UPDATE dry_row SET number = 9 WHERE id = 1"


def execute(text: str = WRITES) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text)


def autocommit() -> None:
    connection.connection.autocommit = True
    execute()


def autocommit_too_late() -> None:
    execute()
    connection.connection.autocommit = True


def isolation() -> None:
    connection.connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    execute()
    connection.connection.rollback()
    connection.connection.isolation_level = None


def block_of_the_driver() -> None:
    with connection.connection.transaction():
        connection.connection.execute(WRITES)


def block_after_a_statement() -> None:
    execute("SELECT 1")
    block_of_the_driver()


def commit_in_a_block() -> None:
    with connection.connection.transaction():
        connection.connection.execute(WRITES)
        connection.connection.commit()


def rollback_in_a_block() -> None:
    with connection.connection.transaction():
        connection.connection.execute(WRITES)
        connection.connection.rollback()


def rehearsed(code: Callable[[], None], *, atomic: bool = True) -> tuple[str, str]:
    """Return how an operation was rehearsed and its error, which is that of the real run."""
    plan = migration(python(code), atomic=atomic)
    (result,) = rehearse(plan).migrations
    error = for_real(plan)
    connection.close()
    shown = "" if result.error is None else result.error.message
    assert bool(shown) is bool(error), (shown, error)
    assert shown in error
    return result.operations[0].rehearsed, shown


@pytest.mark.parametrize(
    ("code", "rehearsal"),
    [
        (autocommit, "not_rehearsed"),
        (isolation, "not_rehearsed"),
        (block_of_the_driver, "substituted"),
        (block_after_a_statement, "exact"),
    ],
)
def test_before_the_first_statement(code: Callable[[], None], rehearsal: str) -> None:
    assert rehearsed(code) == (rehearsal, "")


def test_after_the_first_statement() -> None:
    _rehearsal, error = rehearsed(autocommit_too_late)

    assert error == "can't change 'autocommit' now: connection in transaction status INTRANS"


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize(
    ("code", "method"), [(commit_in_a_block, "commit"), (rollback_in_a_block, "rollback")]
)
def test_what_the_driver_refuses_inside_its_block(
    code: Callable[[], None], method: str, *, atomic: bool
) -> None:
    _rehearsal, error = rehearsed(code, atomic=atomic)

    assert error.startswith(f"Explicit {method}() forbidden within a Transaction context.")


def test_a_block_of_the_driver_in_a_migration_that_is_not_atomic() -> None:
    assert rehearsed(block_of_the_driver, atomic=False) == ("exact", "")


@pytest.mark.parametrize("code", [autocommit, block_of_the_driver])
def test_what_was_committed_by_itself_stays_after_a_failure(code: Callable[[], None]) -> None:
    """So the operation is not exact, though the migration fails in both."""
    plan = migration(python(code), runs("SELECT 1/0"))
    (result,) = rehearse(plan).migrations
    assert result.outcome == "failed"
    assert query("SELECT number FROM dry_row WHERE id = 1") == [(1,)]

    assert "division by zero" in for_real(plan)

    connection.close()
    assert query("SELECT number FROM dry_row WHERE id = 1") == [(9,)]


def status() -> str:
    connection.ensure_connection()
    return str(connection.connection.info.transaction_status.name)


def statuses() -> list[str]:
    seen = [status()]
    execute("SELECT 1")
    seen.append(status())
    with transaction.atomic():
        seen.append(status())
        execute("SELECT 1")
        seen.append(status())
        with suppress(DatabaseError), transaction.atomic():
            with suppress(DatabaseError):
                execute("SELECT 1/0")
            seen.append(status())
    with connection.connection.transaction():
        seen.append(status())
    return [*seen, status()]


@pytest.mark.parametrize("atomic", [True, False])
def test_the_driver_says_the_status_of_the_real_transaction(atomic: bool) -> None:
    """A migration may refuse to run inside a transaction, or outside one."""
    seen: list[list[str]] = []
    plan = migration(python(lambda: seen.append(statuses())), atomic=atomic)

    assert rehearse(plan).migrations[0].error is None
    assert for_real(plan) == ""

    dry, real = seen
    assert dry == real
    assert dry[1] == ("INTRANS" if atomic else "IDLE")


def test_other_connections_keep_their_own_status() -> None:
    seen: list[str] = []

    def code() -> None:
        with plain_connection() as plain:
            seen.append(plain.info.transaction_status.name)
            with plain.transaction():
                seen.append(plain.info.transaction_status.name)

    rehearse(migration(python(code), atomic=False))

    assert seen == ["IDLE", "INTRANS"]


def named_cursor() -> None:
    with connection.connection.cursor("dry_named") as cursor:
        cursor.execute("SELECT id FROM dry_row")
        cursor.fetchone()


def named_cursor_with_hold() -> None:
    with connection.connection.cursor("dry_named", withhold=True) as cursor:
        cursor.execute("SELECT id FROM dry_row")
        cursor.fetchone()


def test_a_cursor_of_the_server_needs_a_transaction_or_hold() -> None:
    refused = "DECLARE CURSOR can only be used in transaction blocks"

    assert rehearsed(named_cursor, atomic=False)[1] == refused
    assert rehearsed(named_cursor) == ("exact", "")
    assert rehearsed(named_cursor_with_hold, atomic=False) == ("exact", "")


def test_the_savepoint_of_a_hook_is_one() -> None:
    class Counts(Hook):
        phase = HookPhase.BEFORE_DDL

        def execute(self, conn: Any, context: HookContext) -> HookResult:
            return HookResult(phase="BEFORE_DDL", hook_name="Counts")

    (result,) = rehearse(migration(RunHook(Counts), runs(WRITES))).migrations

    assert [each.rehearsed for each in result.operations] == ["exact", "exact"]
    assert result.warnings == ()
