"""An alias of the rehearsed database shares its connection; for real it is another session."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from django.db import DatabaseError, connection, connections, transaction

from tests.support.dry_run import (
    migration,
    only_operation,
    python,
    rehearse,
    runs,
    why_it_failed,
)

pytestmark = pytest.mark.usefixtures("untouched")


def sends(sql: str, alias: str) -> Callable[[], None]:
    def code() -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(sql)

    return code


def copies(sql: str) -> Callable[[], None]:
    """Return code that uses a connection of its own under the same alias."""

    def code() -> None:
        own = connection.copy()
        with closing(own), own.cursor() as cursor:
            cursor.execute(sql)

    return code


@pytest.mark.parametrize(
    ("first", "then", "relation"),
    [
        ("ALTER TABLE dry_row ADD extra int", "UPDATE dry_row SET number = 0", "dry_row"),
        ("LOCK TABLE dry_row IN SHARE MODE", "DELETE FROM dry_row WHERE id = 3", "dry_row"),
        ("ALTER TABLE dry_row ADD extra int", "SELECT count(*) FROM dry_row", "dry_row"),
        ("UPDATE dry_child SET parent_id = 1", "ALTER TABLE dry_child ADD x int", "dry_child"),
        ("SELECT * FROM dry_parent", "TRUNCATE dry_parent CASCADE", "dry_parent"),
    ],
)
def test_it_waits_for_what_the_migration_itself_has_locked(
    mirror: str, first: str, then: str, relation: str
) -> None:
    for code in (sends(then, mirror), copies(then)):
        error = why_it_failed(runs(first), python(code))

        assert isinstance(error, Exception)
        assert f" on {relation}, on which the migration itself holds " in str(error)


def test_it_waits_for_no_earlier_migration(mirror: str) -> None:
    report = rehearse(
        migration(runs("ALTER TABLE dry_row ADD extra int"), name="0001_alter"),
        migration(python(sends("UPDATE dry_row SET extra = 0", mirror)), name="0002_fill"),
    )
    assert [each.outcome for each in report.migrations] == ["passed", "passed"]


def test_what_shares_the_transaction_is_not_exact(mirror: str) -> None:
    """It does not see what is uncommitted, may wait for rows, and commits by itself."""
    for sql in ("UPDATE dry_row SET number = 0", "SELECT number FROM dry_row"):
        operation = only_operation(python(sends(sql, mirror)))
        assert operation.rehearsed == "not_rehearsed"
        assert "leads to the same database: for real that is another session" in operation.reason


def test_outside_a_transaction_it_is_exact(mirror: str) -> None:
    def code() -> None:
        sends("ALTER TABLE dry_row ADD extra int", "default")()
        sends("UPDATE dry_row SET extra = 0", mirror)()

    assert only_operation(python(code), atomic=False).rehearsed == "exact"


def test_a_transaction_of_its_own_keeps_others_out(mirror: str) -> None:
    def code() -> None:
        with transaction.atomic(mirror):
            sends("UPDATE dry_row SET number = 0 WHERE id = 1", mirror)()
            sends("UPDATE dry_row SET number = 0 WHERE id = 2", "default")()

    assert only_operation(python(code), atomic=False).rehearsed == "not_rehearsed"


def test_it_does_not_wait_for_itself(mirror: str) -> None:
    def code() -> None:
        sends("ALTER TABLE dry_row ADD extra int", mirror)()
        sends("UPDATE dry_row SET extra = 0", mirror)()

    assert why_it_failed(python(code)) is None


def test_what_watches_is_taken_away_again(mirror: str) -> None:
    with connection.execute_wrapper(lambda execute, *args: execute(*args)):
        before = list(connection.execute_wrappers)
        rehearse(migration(python(sends("SELECT 1", mirror))))
        assert connection.execute_wrappers == before
    assert connections[mirror].execute_wrappers == []


def test_code_that_swallows_the_error_goes_on(mirror: str) -> None:
    def code() -> None:
        sends("ALTER TABLE dry_row ADD extra int", "default")()
        with pytest.raises(DatabaseError):
            sends("UPDATE dry_row SET extra = 0", mirror)()

    assert only_operation(python(code)).rehearsed == "not_rehearsed"
