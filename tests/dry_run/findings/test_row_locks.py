"""Rows that are locked and not written are reported like rows that are."""

from __future__ import annotations

import time

import pytest
from django.db import connection, transaction

from django_confiture.reports import render
from tests.support.dry_run import executes, migration, passed, python, rehearse, runs, table

pytestmark = pytest.mark.usefixtures("scratch")

FUNCTION = """
CREATE FUNCTION dry_locks() RETURNS void LANGUAGE plpgsql AS
$$ BEGIN PERFORM FROM dry_row FOR UPDATE; END $$
"""


def locked(*operations: object, atomic: bool = True) -> list[tuple[str, str | None]]:
    result = passed(*operations, atomic=atomic)  # type: ignore[arg-type]
    ids = [each for each in result.findings if each.id == "rows-locked-while-working"]
    return [(each.severity, each.relation) for each in ids]


@pytest.mark.parametrize("how", ["UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"])
def test_by_how_long_they_stay_locked(how: str) -> None:
    lock = runs(f"SELECT * FROM dry_row FOR {how}")
    assert locked(lock) == []
    assert locked(lock, executes("SELECT pg_sleep(0.3)")) == [("warning", "dry_row")]
    assert locked(lock, executes("SELECT pg_sleep(1.1)")) == [("danger", "dry_row")]


def test_how_many_they_are() -> None:
    lock = executes("SELECT id FROM dry_row WHERE id <= 30 FOR UPDATE")
    result = passed(lock, executes("SELECT pg_sleep(0.3)"))

    assert result.operations[0].statements[0].rows_locked == 30
    (finding,) = (f for f in result.findings if f.id == "rows-locked-while-working")
    assert finding.message.startswith("30 rows of dry_row stay locked for ")
    assert "locks 30 rows" in finding.evidence


def test_one_row_stays_locked() -> None:
    lock = executes("SELECT id FROM dry_row WHERE id = 1 FOR UPDATE")
    result = passed(lock, executes("SELECT pg_sleep(0.3)"))

    (finding,) = (f for f in result.findings if f.id == "rows-locked-while-working")
    assert finding.message.startswith("1 row of dry_row stays locked for ")


def test_how_many_they_are_is_not_known_of_code_and_of_a_cursor() -> None:
    def code() -> None:
        with connection.chunked_cursor() as cursor:
            cursor.execute("SELECT id FROM dry_row FOR UPDATE")
            cursor.fetchmany(10)

    for lock in (python(code), runs(f"{FUNCTION}; SELECT dry_locks()")):
        result = passed(lock, executes("SELECT pg_sleep(0.3)"))

        (finding,) = (f for f in result.findings if f.id == "rows-locked-while-working")
        assert finding.message.startswith("Rows of dry_row stay locked for ")
        assert any("is not known" in each for each in finding.evidence)


def test_in_a_function() -> None:
    operations = runs(FUNCTION), runs("SELECT dry_locks()"), executes("SELECT pg_sleep(0.3)")
    assert locked(*operations) == [("warning", "dry_row")]


def test_in_a_function_that_the_same_script_makes() -> None:
    script = runs(f"{FUNCTION}; SELECT dry_locks()")
    assert locked(script, executes("SELECT pg_sleep(0.3)")) == [("warning", "dry_row")]


def test_where_an_earlier_migration_has_locked_rows_too() -> None:
    lock = runs("SELECT * FROM dry_row WHERE id < 9 FOR UPDATE")
    report = rehearse(
        migration(lock, name="0001_first"),
        migration(lock, executes("SELECT pg_sleep(0.3)"), name="0002_second"),
    )
    assert "rows-locked-while-working" in {each.id for each in report.migrations[1].findings}
    assert table(report.migrations[1], "dry_row").row_locks
    assert "keeps rows of dry_row locked" in render(report, "text")


def test_a_transaction_that_ends_before_the_work() -> None:
    def code() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT * FROM dry_row FOR UPDATE")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.3)")

    assert locked(python(code), atomic=False) == []


def test_reading_locks_no_rows() -> None:
    assert locked(runs("SELECT * FROM dry_row"), executes("SELECT pg_sleep(0.3)")) == []


INSIDE = {
    "in a CTE": "WITH x AS (SELECT id FROM dry_row LIMIT 9 FOR UPDATE) SELECT count(*) FROM x",
    "in a subquery": "SELECT count(*) FROM (SELECT id FROM dry_row FOR SHARE SKIP LOCKED) x",
    "for what is written": "WITH x AS (SELECT id FROM dry_row WHERE id < 9 FOR NO KEY UPDATE)"
    " UPDATE dry_child SET id = id WHERE id IN (SELECT id FROM x)",
    "in a COPY": "COPY (SELECT id FROM dry_row FOR UPDATE) TO STDOUT",
}


@pytest.mark.parametrize("sql", INSIDE.values(), ids=INSIDE)
def test_in_a_part_of_the_statement(sql: str) -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            if not sql.startswith("COPY"):
                cursor.execute(sql)
                return
            with cursor.copy(sql) as copy:
                list(copy)

    assert locked(python(code), executes("SELECT pg_sleep(0.3)")) == [("warning", "dry_row")]


TRIGGER = """
CREATE FUNCTION dry_locks() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM FROM dry_row FOR UPDATE; RETURN new; END $$;
CREATE TRIGGER dry_locks AFTER UPDATE ON dry_child FOR EACH STATEMENT EXECUTE FUNCTION dry_locks()
"""


def test_in_code_that_writes_another_table() -> None:
    """What a foreign key locks of the table that it refers to is no such thing."""
    writes = runs("UPDATE dry_child SET parent_id = 2 WHERE id = 1")
    sleeps = executes("SELECT pg_sleep(0.3)")
    assert locked(writes, sleeps) == []
    assert locked(runs(TRIGGER), writes, sleeps) == [("warning", "dry_row")]


def test_from_the_moment_at_which_a_cursor_of_the_server_opened() -> None:
    def code() -> None:
        raw = connection.connection
        with raw.cursor("dry_locks") as cursor:
            cursor.execute("SELECT id FROM dry_row FOR UPDATE")
            cursor.fetchmany(10)
            time.sleep(0.3)

    assert locked(python(code)) == [("warning", "dry_row")]
