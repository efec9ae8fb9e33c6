"""Why a migration would fail: the first error, where it happened, in PostgreSQL's words."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.db import DatabaseError, connection, models, transaction
from django.db.migrations import CreateModel

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook
from tests.support.dry_run import failed, migration, passed, python, rehearse, runs

pytestmark = pytest.mark.usefixtures("untouched")

ORPHAN = "INSERT INTO dry_child VALUES (1000, 77)"


def test_the_operation_and_the_statement_are_named() -> None:
    result = failed(runs("SELECT 1"), runs("SELECT 2; ALTER TABLE dry_row ADD id int"))

    assert result.error is not None
    assert result.error.type == "DuplicateColumn"
    assert result.error.message == 'column "id" of relation "dry_row" already exists'
    assert result.error.operation == "Raw SQL operation"
    assert result.error.statement == "ALTER TABLE dry_row ADD id int"
    assert [op.index for op in result.operations] == [0, 1]


def test_an_error_of_python_has_no_statement() -> None:
    def code() -> None:
        raise LookupError("no such thing")

    error = failed(python(code)).error

    assert error is not None
    assert (error.type, error.message) == ("LookupError", "no such thing")
    assert error.operation == "Raw Python operation"
    assert error.statement is None


def test_a_violation_at_commit_is_one_of_the_commit() -> None:
    for atomic in (True, False):
        error = failed(runs(f"{ORPHAN}; SELECT 1"), atomic=atomic).error

        assert error is not None
        assert error.type == "ForeignKeyViolation"
        assert error.statement == "COMMIT"
    assert failed(runs(ORPHAN)).error == failed(runs(ORPHAN)).error


def test_deferred_sql_that_fails_names_the_operation_that_left_it() -> None:
    id_field = ("id", models.BigAutoField(primary_key=True))
    key = models.ForeignKey("cases.Target", models.CASCADE)
    result = failed(
        CreateModel("Target", [id_field]),
        CreateModel("Pointer", [id_field, ("target", key)]),
        runs("INSERT INTO cases_pointer (target_id) VALUES (7)"),
    )

    assert result.error is not None
    assert result.error.type == "ForeignKeyViolation"
    assert result.error.operation == "Create model Pointer"
    assert "ADD CONSTRAINT" in (result.error.statement or "")


def test_of_masked_errors_the_first_counts() -> None:
    """Code that catches an error and goes on sees only that the transaction is aborted."""

    def code() -> None:
        with connection.cursor() as cursor:
            with suppress(DatabaseError):
                cursor.execute("SELECT 1 / 0")
            cursor.execute("SELECT 2")

    error = failed(python(code)).error

    assert error is not None
    assert error.type == "DivisionByZero"
    assert error.message.startswith("division by zero (caught by the migration, but it had ")
    assert error.statement == "SELECT 1 / 0"


def test_an_error_that_was_handled_is_not_to_blame() -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SAVEPOINT mine")
            with suppress(DatabaseError):
                cursor.execute("SELECT 1 / 0")
            cursor.execute("ROLLBACK TO mine")
            cursor.execute("SELECT no_such_column")

    error = failed(python(code)).error

    assert error is not None
    assert (error.type, error.statement) == ("UndefinedColumn", "SELECT no_such_column")


class Refuses(Hook):
    """Vetoes."""

    phase = HookPhase.BEFORE_DDL

    def execute(self, conn: object, context: HookContext) -> HookResult:
        """Raise."""
        raise ValueError("not today")


def test_the_veto_of_a_hook() -> None:
    result = failed(RunHook(Refuses), runs("SELECT 1"))

    assert result.error is not None
    assert result.error.type == "HookError"
    assert result.error.message == "Hook Refuses failed in phase BEFORE_DDL: not today"
    hooks = (*result.hooks, *(hook for op in result.operations for hook in op.hooks))
    assert [hook.outcome for hook in hooks] == ["failed"]


def test_what_comes_after_a_failure_is_not_run() -> None:
    first, second, third = rehearse(
        migration(runs("SELECT 1"), name="0001_a"),
        migration(runs("SELECT 1 / 0"), name="0002_b"),
        migration(runs("SELECT 1"), name="0003_c"),
    ).migrations

    assert (first.outcome, second.outcome, third.outcome) == ("passed", "failed", "not_run")
    assert third.operations == ()


def test_what_was_measured_before_the_failure_is_kept() -> None:
    result = failed(runs("UPDATE dry_row SET number = 1"), runs("SELECT 1 / 0"))

    assert result.rows_affected == 1000
    assert [table.relation for table in result.tables] == ["dry_row"]


REFUSED = {
    "a scan of DDL": ("ALTER TABLE dry_row ALTER number SET NOT NULL", 1, 0),
    "an index": ("CREATE UNIQUE INDEX dry_u ON dry_row ((id / 2))", 1, 0),
    "a query": ("SELECT count(*) FROM dry_row HAVING 1 / (count(*) - 1000) = 1", 1, 0),
    "rows": ("UPDATE dry_row SET id = id / 500", 1, 1),
    "a block": ("DO 'BEGIN DELETE FROM dry_row; PERFORM 1 / 0; END'", 1, 1000),
}


@pytest.mark.parametrize(("sql", "scans", "written"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("way", ["atomic", "not atomic", "swallowed", "in a block that is left"])
def test_what_a_statement_read_before_it_failed_is_its_own(
    sql: str, scans: int, written: int, way: str
) -> None:
    """It has blocked others as long, and the next statement that reads the table has not."""

    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE dry_row SET number = NULL WHERE id = 1000")
            with suppress(DatabaseError), transaction.atomic():
                cursor.execute(sql)
            cursor.execute("UPDATE dry_row SET number = 1 WHERE id = 1")

    if way in ("atomic", "not atomic"):
        before = runs("UPDATE dry_row SET number = NULL WHERE id = 1000")
        result = failed(before, runs(sql), atomic=way == "atomic")
        (statement,) = result.operations[1].statements
    else:
        result = passed(python(code), atomic=way == "swallowed")
        _before, statement, after = result.operations[0].statements
        assert (after.scans, after.rows_written) == ((), 1)

    assert [each.relation for each in statement.scans] == ["dry_row"] * scans
    assert statement.rows_written >= written
    assert statement.duration_ms > 0
    assert all(each.sql is not None for op in result.operations for each in op.statements)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE dry_row ALTER number TYPE smallint USING (number + 32000)::smallint",
        "ALTER TABLE dry_row ALTER number SET NOT NULL, ADD CHECK (id < 500)",
        "DO 'BEGIN LOCK TABLE dry_row; PERFORM count(*) FROM dry_row; PERFORM 1 / 0; END'",
    ],
)
def test_a_statement_that_failed_is_no_danger_beside(sql: str) -> None:
    """It read the table and did not rewrite it: nothing follows from that for when it works."""
    result = failed(runs(sql))

    assert [each.relation for each in result.operations[0].statements[0].scans] == ["dry_row"]
    assert {each.id for each in result.findings} <= {"no-lock-timeout"}
