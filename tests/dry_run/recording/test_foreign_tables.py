"""Rows of foreign tables: another session locks and writes them, so it is not exact."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dry_run import (
    migration,
    parameters,
    plain_connection,
    rehearse,
    runs,
)

FOREIGN = """
    CREATE EXTENSION postgres_fdw;
    CREATE SERVER dry_server FOREIGN DATA WRAPPER postgres_fdw
      OPTIONS (host '{host}', port '{port}', dbname '{dbname}');
    CREATE USER MAPPING FOR CURRENT_USER SERVER dry_server
      OPTIONS (user '{user}', password '{password}');
    CREATE FOREIGN TABLE dry_foreign (id int, number int) SERVER dry_server
      OPTIONS (table_name 'dry_row');
"""


@pytest.fixture(autouse=True)
def _foreign(scratch: None) -> Iterator[None]:
    with plain_connection() as plain:
        plain.execute(FOREIGN.format(**{"password": "", **parameters()}))
        yield
        plain.execute("DROP EXTENSION postgres_fdw CASCADE")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE dry_foreign SET number = 0 WHERE id < 5",
        "DELETE FROM dry_foreign WHERE id = 1",
        "SELECT number FROM dry_foreign WHERE id = 1 FOR UPDATE",
    ],
)
def test_rows_that_are_written_or_locked_there_are_marked(statement: str) -> None:
    (result,) = rehearse(migration(runs(statement))).migrations

    (operation,) = result.operations
    assert (result.outcome, operation.rehearsed) == ("passed", "not_rehearsed")
    assert operation.reason is not None
    assert "dry_foreign is a foreign table" in operation.reason


@pytest.mark.parametrize(
    "statement",
    ["SELECT count(*) FROM dry_foreign", "ALTER FOREIGN TABLE dry_foreign ADD name text"],
)
def test_what_writes_nothing_there_is_exact(statement: str) -> None:
    (result,) = rehearse(migration(runs(statement))).migrations

    assert [each.rehearsed for each in result.operations] == ["exact"]


def test_nothing_is_left_there() -> None:
    rehearse(migration(runs("UPDATE dry_foreign SET number = 0")))

    with plain_connection() as plain:
        assert plain.execute("SELECT max(number) FROM dry_row").fetchone() == (1000,)
