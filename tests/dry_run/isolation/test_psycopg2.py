"""What a migration does by psycopg2, past Django and past psycopg, is told of and not committed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import psycopg2.extensions
import psycopg2.pool
import pytest
from django.db import connection

from tests.support.dry_run import (
    migration,
    parameters,
    plain_connection,
    python,
    rehearse,
    why_it_failed,
)

UPDATE = "UPDATE dry_row SET number = 1"


def address() -> dict[str, Any]:
    found = parameters()
    return {key: found[key] for key in ("host", "port", "user", "dbname") if key in found}


def numbers() -> int:
    with plain_connection() as conn:
        ((found,),) = conn.execute("SELECT count(*) FROM dry_row WHERE number = 1")
    return int(found)


def by_connection() -> None:
    with closing(psycopg2.connect(**address())) as conn, conn, conn.cursor() as cursor:
        cursor.execute(UPDATE)


def by_connection_that_may_write() -> None:
    with closing(psycopg2.connect(options="-c work_mem=1MB", **address())) as conn:
        conn.autocommit = True
        conn.cursor().execute(UPDATE)


def by_a_pool() -> None:
    pool = psycopg2.pool.SimpleConnectionPool(1, 1, **address())
    with pool.getconn() as conn:
        conn.cursor().execute(UPDATE)


def by_an_error_of_its_own() -> None:
    try:
        by_connection()
    except psycopg2.Error as error:
        raise RuntimeError("a library's own") from error


@pytest.mark.parametrize(
    "code",
    [by_connection, by_connection_that_may_write, by_a_pool, by_an_error_of_its_own],
    ids=lambda code: code.__name__,
)
def test_that_it_may_not_write_is_no_fault_of_the_migration(
    untouched: None, code: Callable[[], None]
) -> None:
    before = numbers()

    report = rehearse(migration(python(code)))

    (result,) = report.migrations
    assert (result.outcome, report.verdict) == ("not_run", "stopped")
    (operation,) = result.operations
    assert operation.rehearsed == "not_rehearsed"
    assert "--clone lets it write" in operation.reason
    assert numbers() == before


def test_it_may_read_and_is_told_of(untouched: None) -> None:
    def code() -> None:
        with closing(psycopg2.connect(**address())) as conn, conn.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM dry_row")
            assert cursor.fetchone() == (1000,)

    report = rehearse(migration(python(code)))

    (operation,) = report.migrations[0].operations
    assert (report.verdict, operation.rehearsed) == ("passed", "not_rehearsed")
    assert any("on 1 connection opened past Django's" in each for each in report.warnings)


def test_it_gives_up_on_a_lock_that_we_hold(untouched: None) -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE dry_row ADD added int")
        with closing(psycopg2.connect(**address())) as conn:
            conn.cursor().execute("SELECT count(*) FROM dry_row")

    error = why_it_failed(python(code))

    assert error is not None
    assert "lock timeout" in str(error.__cause__ or error)


def test_options_of_the_environment_stay(untouched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    def code() -> None:
        with closing(psycopg2.connect(**address())) as conn, conn.cursor() as cursor:
            cursor.execute("SHOW work_mem")
            shown.append(cursor.fetchone())

    monkeypatch.setitem(os.environ, "PGOPTIONS", "-c work_mem=3MB")
    assert rehearse(migration(python(code))).verdict == "passed"
    assert shown == [("3MB",)]
