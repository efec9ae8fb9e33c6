"""Inside a transaction of the caller's, a broken one, and when the connection is lost."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, connections, transaction
from django.db.migrations.operations.base import Operation
from psycopg.pq import TransactionStatus

from django_confiture import DryRunError
from django_confiture.exceptions import DryRunRefused
from tests.support.dry_run import (
    LEAK,
    LOSES_THE_CONNECTION,
    executes,
    fingerprint,
    plain_connection,
    python,
    runs,
    why_it_failed,
)


def deletes_and_calls_back() -> None:
    transaction.on_commit(Group.objects.all().delete)
    with transaction.atomic():
        Group.objects.all().delete()


def writes_to_the_other_alias() -> None:
    with transaction.atomic("other", durable=True):
        Group.objects.using("other").create(name="LEAK")


def fails() -> None:
    Group.objects.all().delete()
    raise ValueError("told to fail")


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize("data", [True, False], ids=["with data", "without data"])
@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (runs("BEGIN; DELETE FROM auth_group; COMMIT"), None),
        (runs("ROLLBACK; DELETE FROM auth_group"), None),
        (python(deletes_and_calls_back), None),
        (python(writes_to_the_other_alias), None),
        (python(fails), "told to fail"),
        (runs("CLOSE ALL"), "closed the cursor"),
    ],
)
def test_in_a_test_case_the_transaction_stays_as_it_was(
    operation: Operation, error: str | None, data: bool, atomic: bool
) -> None:
    if data:
        Group.objects.create(name="before")
        transaction.on_commit(lambda: None)
        Group.objects.using("other").create(name="before")
    before = _state()

    why = why_it_failed(operation, atomic=atomic)

    assert error in str(why) if error else why is None
    assert _state() == before
    with transaction.atomic():
        Group.objects.create(name="after")
    assert Group.objects.filter(name="after").exists()


def _state() -> list[Any]:
    """Return what the transactions see; without data none is open yet, and none is opened here."""
    found: list[Any] = []
    for wrapper in (connections["default"], connections["other"]):
        wrapper.ensure_connection()
        status = wrapper.connection.info.transaction_status
        if status == TransactionStatus.INTRANS:
            found.append(fingerprint(wrapper.connection))
        with plain_connection(wrapper.alias) as plain:
            found.append(fingerprint(plain))
        found += [status, dict(vars(wrapper))]
    return found


@pytest.mark.django_db
@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_cursors_of_the_caller_stay_open(atomic: bool) -> None:
    Group.objects.bulk_create(Group(name=str(each)) for each in range(3))
    groups = Group.objects.order_by("name").iterator(chunk_size=1)
    assert next(groups).name == "0"
    with connection.cursor() as cursor:
        cursor.execute("DECLARE callers CURSOR FOR SELECT 7 UNION ALL SELECT 8")
        opens = runs("DECLARE migrations CURSOR FOR SELECT 1")

        assert why_it_failed(*([opens] if atomic else []), runs("SELECT 1"), atomic=atomic) is None

        cursor.execute("FETCH ALL FROM callers")
        assert cursor.fetchall() == [(7,), (8,)]
    assert [each.name for each in groups] == ["1", "2"]


def test_a_broken_transaction_is_refused(scratch: None) -> None:
    with suppress(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        try:
            cursor.execute("SELECT 1 / 0")
        finally:
            error = why_it_failed(runs(LEAK))

    assert isinstance(error, DryRunRefused)
    assert str(error) == (
        "The connection to 'default' is in a broken transaction (INERROR); roll it back first."
    )


def test_a_lost_connection_is_an_error_of_the_migration(scratch: None) -> None:
    error = why_it_failed(executes(LOSES_THE_CONNECTION))

    assert isinstance(error, DryRunError)
    assert isinstance(error.__cause__, DatabaseError)
    assert isinstance(error.__cause__.__cause__, psycopg.errors.AdminShutdown)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
