"""Rows of foreign tables: another session locks and writes them, so it is not exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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


MISSED = "does not see what earlier migrations of this dry run have changed"
NUMBERS = "UPDATE dry_row SET number = 0"
READS = "INSERT INTO dry_parent SELECT 100 + id, number::text FROM {} WHERE id < 5"
ABOVE = """
    CREATE VIEW dry_above AS SELECT * FROM dry_foreign;
    CREATE VIEW dry_over AS SELECT * FROM dry_above;
    CREATE MATERIALIZED VIEW dry_kept AS SELECT * FROM dry_foreign;
    CREATE FUNCTION dry_reads() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM dry_foreign';
    CREATE FUNCTION dry_on_write() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN new.name := (SELECT max(number) FROM dry_foreign); RETURN new; END $$;
    CREATE TRIGGER dry_on_write BEFORE UPDATE ON dry_parent
      FOR EACH ROW EXECUTE FUNCTION dry_on_write();
"""


def exactness(*plan: Sequence[str], atomic: bool = True) -> list[str]:
    """Return how each operation of migrations is rehearsed, with the reason."""
    migrations = [
        migration(*map(runs, each), atomic=atomic, name=f"{n:04}_x") for n, each in enumerate(plan)
    ]
    results = rehearse(*migrations).migrations
    assert [each.error for each in results] == [None] * len(plan)
    return [operation.reason or "" for each in results for operation in each.operations]


READING = [
    READS.format("dry_foreign"),
    READS.format("dry_over").replace("100", "200"),
    "SELECT number FROM dry_foreign",
    "CREATE TABLE dry_copied AS SELECT * FROM dry_above",
    "REFRESH MATERIALIZED VIEW dry_kept",
    "SELECT dry_reads()",
    "DO $$ BEGIN PERFORM FROM dry_foreign; END $$",
    "UPDATE dry_parent SET id = id",
]
NOT_READING = [
    "SELECT number FROM dry_row",
    "SELECT FROM dry_kept",
    "ALTER FOREIGN TABLE dry_foreign ADD name text",
    "DO $$ BEGIN PERFORM FROM dry_row; END $$",
    "UPDATE dry_child SET id = id",
]


def test_what_reads_there_what_an_earlier_migration_has_changed_is_marked() -> None:
    with plain_connection() as plain:
        plain.execute(ABOVE)

    found = exactness([NUMBERS], *([each] for each in (*READING, *NOT_READING)))

    marked = [MISSED in each for each in found]
    assert marked == [False, *(True for _ in READING), *(False for _ in NOT_READING)]


def test_what_its_own_migration_has_changed_is_not_seen_there_for_real_either() -> None:
    assert exactness([NUMBERS, READS.format("dry_foreign")]) == ["", ""]


def test_each_statement_of_a_migration_that_is_not_atomic_is_seen_by_the_next() -> None:
    earlier, later = exactness([NUMBERS, READS.format("dry_foreign")], atomic=False)

    assert (earlier, MISSED in later) == ("", True)


def test_a_foreign_table_of_another_database_is_not_marked() -> None:
    with plain_connection() as plain:
        plain.execute("ALTER SERVER dry_server OPTIONS (SET dbname 'postgres')")
        plain.execute(
            "ALTER FOREIGN TABLE dry_foreign OPTIONS (schema_name 'pg_catalog', "
            "SET table_name 'pg_class')"
        )

    assert exactness([NUMBERS], ["DO $$ BEGIN PERFORM count(*) FROM dry_foreign; END $$"]) == [
        "",
        "",
    ]


def test_a_foreign_table_that_the_plan_makes_is_marked_as_well() -> None:
    made = "CREATE FOREIGN TABLE dry_new (id int, number int) SERVER dry_server {}".format(
        "OPTIONS (table_name 'dry_row')"
    )

    before, changing, later = exactness([made], [NUMBERS], [READS.format("dry_new")])

    assert (before, changing, MISSED in later) == ("", "", True)


PROGRAM = """
    CREATE EXTENSION file_fdw;
    CREATE SERVER dry_files FOREIGN DATA WRAPPER file_fdw;
    CREATE FOREIGN TABLE dry_program (id int) SERVER dry_files OPTIONS (program 'echo 1');
    CREATE FOREIGN TABLE dry_file (id text) SERVER dry_files OPTIONS (filename '/dev/null');
    CREATE VIEW dry_programs AS SELECT id FROM dry_program;
    CREATE FUNCTION dry_calls() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM dry_programs';
"""


@pytest.mark.parametrize(
    ("statement", "rehearsed"),
    [
        ("INSERT INTO dry_parent SELECT id + 900 FROM dry_program", "not_rehearsed"),
        ("SELECT count(*) FROM dry_programs", "not_rehearsed"),
        ("CREATE TABLE dry_made AS SELECT id FROM dry_programs", "not_rehearsed"),
        ("DO 'BEGIN PERFORM count(*) FROM dry_program; END'", "not_rehearsed"),
        ("SELECT dry_calls()", "not_rehearsed"),
        ("SELECT count(*) FROM dry_file", "exact"),
        ("ALTER FOREIGN TABLE dry_program OPTIONS (SET program 'echo 2')", "exact"),
    ],
)
def test_reading_what_runs_a_program_on_the_server_is_marked(
    statement: str, rehearsed: str
) -> None:
    with plain_connection() as plain:
        plain.execute(PROGRAM)
        try:
            (result,) = rehearse(migration(runs(statement))).migrations
        finally:
            plain.execute("DROP FUNCTION dry_calls; DROP EXTENSION file_fdw CASCADE")

    (operation,) = result.operations
    assert (result.outcome, operation.rehearsed) == ("passed", rehearsed)
    assert ("runs a program on the server" in operation.reason) is (rehearsed != "exact")
