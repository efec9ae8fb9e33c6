"""What makes COMMIT impossible, and that migrations do not meet with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.utils import DataError

from django_confiture.dry_run.transactions.commit_guard import COMMIT_GUARD
from tests.support.dry_run import (
    LEAK,
    check,
    failed,
    passed,
    plain_connection,
    python,
    runs,
    why_it_failed,
)

pytestmark = pytest.mark.usefixtures("untouched")

CLOSED = f"A migration closed the cursor {COMMIT_GUARD}, which guards against commits"


def commit_past_the_driver() -> None:
    """Send COMMIT where nothing of ours looks."""
    raw = connection.connection
    result = raw.pgconn.exec_(b"COMMIT")
    if result.error_message:
        raise DataError(result.error_message.decode())


def test_the_server_refuses_a_commit_that_was_not_caught() -> None:
    result = failed(runs(LEAK), python(commit_past_the_driver))

    assert result.error is not None
    assert "a dry run is never committed (session" in result.error.message


@pytest.mark.parametrize(
    "script",
    ["CLOSE ALL", f"CLOSE {COMMIT_GUARD}", f"CLOSE ALL; {LEAK}; COMMIT"],
)
def test_a_guard_that_was_closed_is_noticed(script: str) -> None:
    check(why_it_failed(runs(script)), CLOSED)


MOVES_EVERY_TABLE = """
CREATE SCHEMA dry_all;
DO $$
DECLARE found record;
BEGIN
  FOR found IN SELECT schemaname, tablename FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
  LOOP
    EXECUTE format('ALTER TABLE %I.%I SET SCHEMA dry_all', found.schemaname, found.tablename);
  END LOOP;
END $$;
ALTER TABLE dry_all.django_migrations SET SCHEMA public;
"""


def test_a_loop_over_all_tables_meets_only_those_of_the_project() -> None:
    passed(runs(MOVES_EVERY_TABLE))


def test_introspection_shows_only_the_tables_of_the_project() -> None:
    def tables() -> set[str]:
        with connection.cursor() as cursor:
            return set(connection.introspection.table_names(cursor))

    before = tables()
    seen: list[set[str]] = []

    passed(python(lambda: seen.append(tables())))

    assert seen == [before]


@pytest.fixture
def keys_wanted() -> Iterator[None]:
    """Let an event trigger refuse tables without a primary key."""
    with plain_connection() as plain:
        plain.execute(
            """
            CREATE FUNCTION dry_wants_keys() RETURNS event_trigger LANGUAGE plpgsql AS $$
            BEGIN
              IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() e
                WHERE e.command_tag = 'CREATE TABLE' AND NOT EXISTS
                  (SELECT FROM pg_constraint WHERE conrelid = e.objid AND contype = 'p'))
              THEN RAISE 'a table without a primary key'; END IF;
            END $$;
            CREATE EVENT TRIGGER dry_wants_keys ON ddl_command_end
              EXECUTE FUNCTION dry_wants_keys();
            """
        )
        try:
            yield
        finally:
            plain.execute("DROP EVENT TRIGGER dry_wants_keys")
            plain.execute("DROP FUNCTION dry_wants_keys")


def test_an_event_trigger_sees_only_what_the_migration_makes(keys_wanted: None) -> None:
    passed(runs("CREATE TABLE dry_new (id integer PRIMARY KEY)"))


def test_a_cursor_that_is_left_open_is_closed_with_the_migration() -> None:
    def left_open() -> None:
        connection.connection.execute("DECLARE dry_open CURSOR FOR SELECT * FROM dry_row")

    passed(python(left_open))
