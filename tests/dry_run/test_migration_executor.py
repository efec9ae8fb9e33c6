"""Whatever a migration does with the driver, past Django, nothing of it is left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg import ClientCursor, RawCursor

from tests.support.dry_run import (
    ENDED,
    LEAK,
    check,
    python,
    why_it_failed,
)


def client_executemany(raw: psycopg.Connection[Any]) -> None:
    ClientCursor(raw).executemany("ROLLBACK; UPDATE dry_row SET name = %s", [["LEAK"]])


def executemany(raw: psycopg.Connection[Any]) -> None:
    raw.cursor().executemany("COMMIT", [[]])
    raw.execute(LEAK)


def executemany_rollback(raw: psycopg.Connection[Any]) -> None:
    raw.cursor().executemany("ROLLBACK", [[]])
    raw.execute(LEAK)


def stream(raw: psycopg.Connection[Any]) -> None:
    list(raw.cursor().stream("ROLLBACK"))
    raw.execute(LEAK)


def copy_after_rollback(raw: psycopg.Connection[Any]) -> None:
    cursor = raw.cursor()
    with cursor.copy("ROLLBACK; COPY dry_row FROM STDIN") as copy:
        copy.write_row([5000, "LEAK", 1, "x"])


def unreadable_in_a_literal_place(raw: psycopg.Connection[Any]) -> None:
    """A placeholder where the grammar has a literal only; Django's cursor fills it in itself."""
    ClientCursor(raw).execute(
        "COMMENT ON TABLE dry_row IS %s; ROLLBACK; UPDATE dry_row SET name = 'LEAK'", ["LEAK"]
    )


def unreadable_number(raw: psycopg.Connection[Any]) -> None:
    ClientCursor(raw).execute(
        f"CREATE SEQUENCE s; ALTER SEQUENCE s RESTART WITH %s; ROLLBACK; {LEAK}", [5]
    )


def too_deep_for_the_parser(raw: psycopg.Connection[Any]) -> None:
    raw.execute(f"SELECT {'+'.join(['1'] * 300)}; ROLLBACK; {LEAK}")


def raw_commit(raw: psycopg.Connection[Any]) -> None:
    raw.execute(LEAK)
    raw.commit()


def raw_rollback(raw: psycopg.Connection[Any]) -> None:
    raw.rollback()
    raw.execute(LEAK)


def as_context_manager(raw: psycopg.Connection[Any]) -> None:
    with raw:
        raw.execute(LEAK)


def below_the_driver(raw: psycopg.Connection[Any]) -> None:
    """The guard refuses this COMMIT; what comes after it must not run outside a transaction."""
    raw.execute(LEAK)
    raw.pgconn.exec_(b"COMMIT")
    raw.execute("INSERT INTO dry_parent VALUES (99)")


def rollback_below_the_driver(raw: psycopg.Connection[Any]) -> None:
    raw.pgconn.exec_(b"ROLLBACK")
    with raw.cursor().copy("COPY dry_parent FROM STDIN") as copy:
        copy.write_row([99, "LEAK"])


def nested_transaction(raw: psycopg.Connection[Any]) -> None:
    with raw.transaction():
        raw.execute(LEAK)


def pipeline(raw: psycopg.Connection[Any]) -> None:
    with raw.pipeline():
        raw.execute(LEAK)
        raw.execute("COMMIT")
        raw.execute("INSERT INTO dry_parent VALUES (99)")


def raw_cursor(raw: psycopg.Connection[Any]) -> None:
    RawCursor(raw).execute("UPDATE dry_row SET name = $1", ["LEAK"])
    RawCursor(raw).execute("COMMIT")


def closes_the_session(raw: psycopg.Connection[Any]) -> None:
    raw.execute(LEAK)
    raw.close()


def autocommit_off(raw: psycopg.Connection[Any]) -> None:
    with suppress(psycopg.Error):
        raw.autocommit = False
    raw.execute(LEAK)
    raw.commit()


CLOSED = "the connection is closed"
MIXED = "COPY cannot be mixed with other operations"

DRIVER = [
    (client_executemany, None),
    (executemany, None),
    (executemany_rollback, None),
    (stream, None),
    (copy_after_rollback, MIXED),
    (unreadable_in_a_literal_place, None),
    (unreadable_number, None),
    (too_deep_for_the_parser, None),
    (raw_commit, None),
    (raw_rollback, None),
    (as_context_manager, CLOSED),
    (below_the_driver, ENDED),
    (rollback_below_the_driver, ENDED),
    (nested_transaction, None),
    (pipeline, None),
    (raw_cursor, None),
    (closes_the_session, CLOSED),
    (autocommit_off, None),
]


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize(("code", "expected"), DRIVER)
def test_nothing_done_with_the_driver_is_left(
    untouched: None, code: Callable[[Any], None], expected: str | None, atomic: bool
) -> None:
    operation = python(lambda _apps, editor: code(editor.connection.connection))

    check(why_it_failed(operation, atomic=atomic), expected)
