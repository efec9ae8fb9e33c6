"""Rows of foreign tables: another session locks and writes them, so it is not exact."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import DatabaseError, connection, transaction
from pytest_django import Settings

from django_confiture.management.exit_codes import exit_code
from tests.support.dry_run import (
    migration,
    parameters,
    plain_connection,
    python,
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


ALTER = "ALTER TABLE dry_row ADD extra int"


@pytest.mark.parametrize("reading", ["SELECT number FROM dry_foreign", "DELETE FROM dry_foreign"])
@pytest.mark.parametrize("together", [True, False])
def test_a_statement_that_waits_for_itself_there_is_no_other_session(
    settings: Settings, reading: str, *, together: bool
) -> None:
    settings.CONFITURE = {**settings.CONFITURE, "DRY_RUN": {"YIELD_AFTER": "300ms"}}
    if together:
        report = rehearse(migration(runs(ALTER), runs(reading)))
    else:
        report = rehearse(
            migration(runs(ALTER), name="0001_alter"), migration(runs(reading), name="0002_reads")
        )

    assert report.yielded_to == ()
    assert exit_code(report) == (1 if together else 2)
    (said,) = (each for each in report.warnings if "A foreign server's session" in each)
    assert "on dry_row, which the migrations' own connection holds" in said
    assert "use the table itself" in said


def test_a_migration_that_swallows_the_end_of_that_wait_does_not_pass(settings: Settings) -> None:
    settings.CONFITURE = {**settings.CONFITURE, "DRY_RUN": {"YIELD_AFTER": "300ms"}}

    def swallows() -> None:
        with connection.cursor() as cursor:
            with pytest.raises(DatabaseError), transaction.atomic():
                cursor.execute("SELECT number FROM dry_foreign")
            cursor.execute("UPDATE dry_row SET number = 0")

    report = rehearse(migration(runs(ALTER), python(swallows)))

    assert report.yielded_to == ()
    assert exit_code(report) == 2
    (error,) = (each.error for each in report.migrations)
    assert error is not None
    assert (error.type, error.blames_migration) == ("DryRunStopped", False)
    assert "A foreign server's session" in error.message
