"""What the driver allows before Django's transaction has sent its first statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import connection

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook
from tests.cases.migrations_on_disk import query
from tests.support.dry_run import for_real, migration, python, rehearse, runs

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


def test_the_savepoint_of_a_hook_is_one() -> None:
    class Counts(Hook):
        phase = HookPhase.BEFORE_DDL

        def execute(self, conn: Any, context: HookContext) -> HookResult:
            return HookResult(phase="BEFORE_DDL", hook_name="Counts")

    (result,) = rehearse(migration(RunHook(Counts), runs(WRITES))).migrations

    assert [each.rehearsed for each in result.operations] == ["exact", "exact"]
    assert result.warnings == ()
