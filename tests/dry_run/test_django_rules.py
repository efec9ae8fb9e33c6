"""Whatever a migration does with Django's transactions and connections, nothing of it is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, connections, transaction
from psycopg import connect as imported_connect

from tests.support.dry_run import (
    ENDED,
    LEAK,
    check,
    parameters,
    python,
    why_it_failed,
)


def durable() -> None:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(LEAK)


def autocommit_games() -> None:
    transaction.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute(LEAK)
        transaction.commit()
        cursor.execute("DELETE FROM dry_child")
        transaction.rollback()
    transaction.set_autocommit(True)


def autocommit_left_off() -> None:
    transaction.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute(LEAK)


def swallows_errors() -> None:
    Group.objects.create(name="LEAK")
    with suppress(DatabaseError):
        Group.objects.create(name="LEAK")
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
    Group.objects.create(name="LEAK 2")


def callbacks() -> None:
    def leak() -> None:
        with connection.cursor() as cursor:
            cursor.execute(LEAK)

    transaction.on_commit(leak)
    with transaction.atomic():
        transaction.on_commit(leak)


def closes_the_connection() -> None:
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute(LEAK)


def connects_again() -> None:
    connection.close()
    connection.connect()
    with connection.cursor() as cursor:
        cursor.execute(LEAK)
    connection.connection.commit()


def closes_all() -> None:
    connections.close_all()
    with connection.cursor() as cursor:
        cursor.execute(LEAK)


def advisory_lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(1)")


def on_the_other_alias() -> None:
    with connections["other"].cursor() as cursor:
        cursor.execute(LEAK)
    with transaction.atomic("other"), connections["other"].cursor() as cursor:
        cursor.execute("DELETE FROM dry_child")
    connections["other"].connection.commit()
    connections["other"].close()
    with connections["other"].cursor() as cursor:
        cursor.execute(LEAK)


def commits_on_the_other_alias() -> None:
    with connections["other"].cursor() as cursor:
        cursor.execute(f"BEGIN; {LEAK}; COMMIT")
        cursor.execute(f"ROLLBACK; {LEAK}")


def swallows_errors_on_the_other_alias() -> None:
    with connections["other"].cursor() as cursor:
        with suppress(DatabaseError):
            cursor.execute("SELECT 1 / 0")
        cursor.execute(LEAK)


def driver_on_the_other_alias() -> None:
    connections["other"].ensure_connection()
    raw = connections["other"].connection
    with suppress(psycopg.Error):
        raw.pgconn.exec_(b"ROLLBACK")
        raw.execute(LEAK)


def in_a_thread() -> None:
    def work() -> None:
        with connection.cursor() as cursor:
            cursor.execute(LEAK)
        with connections["other"].cursor() as cursor:
            cursor.execute(LEAK)
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def with_a_connection_of_its_own() -> None:
    with psycopg.connect(**parameters(), autocommit=True) as own, suppress(psycopg.Error):
        own.execute(LEAK)


def with_the_driver_imported_before() -> None:
    with imported_connect(**parameters(), autocommit=True) as own, suppress(psycopg.Error):
        own.execute(LEAK)


class OwnConnection(psycopg.Connection[Any]):
    """A class of the project's own."""


def with_a_class_of_its_own() -> None:
    with OwnConnection.connect(**parameters(), autocommit=True) as own, suppress(psycopg.Error):
        assert isinstance(own, OwnConnection)
        own.execute(LEAK)


async def leak_asynchronously() -> None:
    own = await psycopg.AsyncConnection.connect(**parameters(), autocommit=True)
    async with own:
        with suppress(psycopg.Error):
            await own.execute(LEAK)


def asynchronously() -> None:
    asyncio.run(leak_asynchronously())


FORBIDDEN = "This is forbidden when an 'atomic' block is active."
DURABLE = "A durable atomic block cannot be nested within another atomic block."
ABORTED = "You can't execute queries until the end of the 'atomic' block"

CLOSED = "the connection is closed"

DJANGO = [
    (durable, DURABLE, None),
    (autocommit_games, FORBIDDEN, None),
    (autocommit_left_off, FORBIDDEN, None),
    (swallows_errors, ABORTED, None),
    (callbacks, None, None),
    (closes_the_connection, CLOSED, None),
    (connects_again, None, None),
    (closes_all, CLOSED, None),
    (advisory_lock, None, None),
    (on_the_other_alias, None, None),
    (commits_on_the_other_alias, None, None),
    (swallows_errors_on_the_other_alias, None, None),
    (driver_on_the_other_alias, ENDED, ENDED),
    (in_a_thread, None, None),
    (with_a_connection_of_its_own, None, None),
    (with_the_driver_imported_before, None, None),
    (with_a_class_of_its_own, None, None),
    (asynchronously, None, None),
]


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize("ending", ["returns", "raises", "interrupted"])
@pytest.mark.parametrize(("code", "if_atomic", "if_not"), DJANGO)
def test_nothing_done_with_django_is_left(
    untouched: None,
    code: Callable[[], None],
    if_atomic: str | None,
    if_not: str | None,
    ending: str,
    atomic: bool,
) -> None:
    expected = if_atomic if atomic else if_not

    def body() -> None:
        code()
        if ending == "raises":
            raise ValueError("told to fail")
        if ending == "interrupted":
            raise KeyboardInterrupt

    if ending == "interrupted" and expected is None:
        with pytest.raises(KeyboardInterrupt):
            why_it_failed(python(body), atomic=atomic)
        return
    if ending == "raises":
        expected = expected or "told to fail"
    check(why_it_failed(python(body), atomic=atomic), expected)
