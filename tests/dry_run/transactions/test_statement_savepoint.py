"""The savepoint that is set ahead of a statement, among those of the migration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg
import pytest
from django.db import DatabaseError, connection, connections, transaction

from tests.support.dry_run import passed, python

pytestmark = pytest.mark.usefixtures("untouched")

_INDEX = "CREATE INDEX ON dry_row (number)"
_UNIQUE = "CREATE UNIQUE INDEX ON dry_row ((1))"
"""Fails, as there is more than one row."""


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for each in statements:
            cursor.execute(each)


def count() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM dry_row WHERE number = -7")
        return int(cursor.fetchone()[0])


def in_savepoints_of_django() -> None:
    run(_INDEX)
    with transaction.atomic():
        run("UPDATE dry_row SET number = -7 WHERE id = 1", _INDEX)
        with suppress(DatabaseError), transaction.atomic():
            run("UPDATE dry_row SET number = 0 WHERE id = 1", _INDEX, _UNIQUE)
        run(_INDEX)


def in_savepoints_of_the_driver() -> None:
    run(_INDEX)
    raw = connection.connection
    with raw.transaction():
        raw.execute("UPDATE dry_row SET number = -7 WHERE id = 1")
        raw.execute(_INDEX)
        with suppress(psycopg.Error), raw.transaction():
            raw.execute("UPDATE dry_row SET number = 0 WHERE id = 1")
            raw.execute(_UNIQUE)
        raw.execute(_INDEX)


def in_savepoints_of_sql() -> None:
    run(
        _INDEX,
        "SAVEPOINT a",
        "UPDATE dry_row SET number = -7 WHERE id = 1",
        _INDEX,
        "SAVEPOINT a",
        _INDEX,
        "UPDATE dry_row SET number = 0 WHERE id = 1",
        "ROLLBACK TO a",
        _INDEX,
        "RELEASE a",
        _INDEX,
        "RELEASE a",
        _INDEX,
    )


def after_rows_were_written() -> None:
    run(_INDEX, "UPDATE dry_row SET number = -7 WHERE id = 1")
    with suppress(DatabaseError), transaction.atomic():
        run(_UNIQUE)
    run(_INDEX)


def in_a_pipeline() -> None:
    run(_INDEX)
    raw = connection.connection
    with raw.pipeline():
        raw.execute("SAVEPOINT a")
        raw.execute("UPDATE dry_row SET number = -7 WHERE id = 1")
    run(_INDEX)
    run("RELEASE a")
    run(_INDEX)


CODES = (
    in_savepoints_of_django,
    in_savepoints_of_the_driver,
    in_savepoints_of_sql,
    after_rows_were_written,
    in_a_pipeline,
)


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.__name__)
def test_no_savepoint_of_the_migration_goes_with_ours(code: Callable[[], None]) -> None:
    found: list[int] = []

    def checked() -> None:
        code()
        found.append(count())

    passed(python(checked), python(lambda: found.append(count())))

    assert found == [1, 1]


@pytest.fixture
def mirror() -> Iterator[None]:
    """An alias of the same database under another name."""
    connections.databases["mirror"] = {**connections.databases["default"]}
    try:
        yield
    finally:
        connections["mirror"].close()
        del connections["mirror"], connections.databases["mirror"]


@pytest.mark.usefixtures("mirror")
def test_an_alias_of_the_same_connection() -> None:
    found: list[int] = []

    def code() -> None:
        run(_INDEX)
        with suppress(RuntimeError), transaction.atomic(using="mirror"):
            with connections["mirror"].cursor() as cursor:
                cursor.execute("UPDATE dry_row SET number = -7 WHERE id = 1")
                cursor.execute(_INDEX)
            found.append(count())
            raise RuntimeError
        run(_INDEX)
        found.append(count())

    passed(python(code), python(lambda: found.append(count())), atomic=False)

    assert found == [1, 0, 0]
