"""Other schemas, isolation levels, sequences and dead space."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.support.dry_run import migration, only_statement, plain_connection, rehearse, runs

pytestmark = pytest.mark.usefixtures("scratch")


def test_outside_the_search_path_the_schema_is_named() -> None:
    with plain_connection() as plain:
        plain.execute("CREATE SCHEMA dry_schema; CREATE TABLE dry_schema.dry_row (id int)")
    try:
        statement = only_statement(runs("ALTER TABLE dry_schema.dry_row ADD added int"))
    finally:
        with plain_connection() as plain:
            plain.execute("DROP SCHEMA dry_schema CASCADE")

    assert {lock.relation: lock.mode for lock in statement.locks} == {
        "dry_schema.dry_row": "AccessExclusiveLock"
    }


def test_in_a_serializable_transaction() -> None:
    """There ``pg_locks`` shows predicate locks, too."""
    connection.ensure_connection()
    connection.connection.execute("SET default_transaction_isolation = serializable")

    statement = only_statement(
        runs("INSERT INTO dry_parent SELECT id + 100, name FROM dry_row WHERE name LIKE '%7'")
    )

    assert statement.rows_affected == 100


def test_sequences_that_moved_are_named() -> None:
    with plain_connection() as plain:
        plain.execute("CREATE TABLE dry_numbered (id serial)")

    report = rehearse(migration(runs("INSERT INTO dry_numbered DEFAULT VALUES")))

    (moved,) = [m for m in report.sequences_moved if m.sequence == "dry_numbered_id_seq"]
    assert (moved.before, moved.after) == (None, 1)


def test_dead_space_is_measured() -> None:
    report = rehearse(migration(runs("UPDATE dry_row SET name = repeat('x', 500)")))

    assert report.dead_bytes > 1000 * 500
    assert rehearse(migration(runs("SELECT 1"))).dead_bytes == 0
    assert rehearse(migration(runs("ALTER TABLE dry_row ALTER number TYPE bigint"))).dead_bytes == 0
