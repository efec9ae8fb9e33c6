"""What the dry run does for itself is in no duration, and it leaves no savepoint behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.transactions.inner_transaction import INNER
from tests.support.dry_run import failed, migration, passed, python, rehearse, runs, table

pytestmark = pytest.mark.usefixtures("untouched")

_DELAY_S = 0.03


class OwnWork:
    """How long the dry run has been slowed down for."""

    queries = 0

    @property
    def ms(self) -> float:
        return self.queries * _DELAY_S * 1000


@pytest.fixture
def own_work(monkeypatch: pytest.MonkeyPatch) -> OwnWork:
    """Let each query of the dry run's own take 30 ms more, but for its BEGIN and COMMIT."""
    found = OwnWork()
    query = Session.query

    def slowly(self: Session, text: str, *args: Any) -> Any:
        if INNER not in text:
            found.queries += 1
            time.sleep(_DELAY_S)
        return query(self, text, *args)

    monkeypatch.setattr(Session, "query", slowly)
    return found


def change() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE dry_row ADD COLUMN more integer")
        cursor.execute("CREATE INDEX dry_more ON dry_row (more)")
        for number in range(5):
            cursor.execute("UPDATE dry_row SET more = %s WHERE id = 1", [number])


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_probes_and_look_ups_take_no_time(own_work: OwnWork, *, atomic: bool) -> None:
    result = passed(python(change), atomic=atomic)

    (operation,) = result.operations
    blocked = table(result, "dry_row")
    most = own_work.ms / 5
    assert own_work.ms > 500
    assert operation.duration_ms < most
    assert blocked.writes_blocked_ms < most
    assert sum(each.duration_ms for each in operation.statements) < most
    assert result.duration_ms < most
    assert result.commit_ms < most


def test_on_a_savepoint_of_the_migration(own_work: OwnWork) -> None:
    def code() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE dry_row SET number = 1 WHERE id = 1")

    assert passed(python(code)).operations[0].duration_ms < own_work.ms / 5


class Updates(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        conn.execute("UPDATE dry_row SET number = 1 WHERE id = 1")
        return HookResult("AFTER_DDL", "Updates")


def test_a_hook_is_charged_with_its_own_statements_alone(own_work: OwnWork) -> None:
    ((hook,),) = (each.hooks for each in passed(RunHook(Updates)).operations)

    assert hook.duration_ms < own_work.ms / 5


def test_what_python_and_the_statements_take_is_counted(own_work: OwnWork) -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE dry_row IN ACCESS EXCLUSIVE MODE")
            cursor.execute("SELECT pg_sleep(0.2)")
            time.sleep(0.2)

    result = passed(python(code))

    most = own_work.ms / 2
    assert 400 < result.operations[0].duration_ms < 400 + most
    assert 400 < table(result, "dry_row").writes_blocked_ms < 400 + most
    assert 200 < result.operations[0].statements[1].duration_ms < 200 + most


def test_what_a_commit_checks_is_counted(own_work: OwnWork) -> None:
    slow_check = (
        "CREATE FUNCTION dry_slow() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END';"
        "CREATE CONSTRAINT TRIGGER dry_slow AFTER UPDATE ON dry_row DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION dry_slow()"
    )
    first, second = rehearse(
        migration(runs(slow_check), name="0001_slow"),
        migration(runs("UPDATE dry_row SET number = 1 WHERE id = 1"), name="0002_update"),
    ).migrations

    assert first.commit_ms < 100
    assert 200 < second.commit_ms < 300
    assert 200 < second.duration_ms < 200 + own_work.ms / 4


# Statements that the driver refuses, so that nothing is sent.

UPDATE_ONE = "UPDATE dry_row SET number = %s WHERE id = 1"


def too_many_values(raw: psycopg.Connection[Any]) -> None:
    raw.execute(UPDATE_ONE, [1, 2])


def a_value_of_an_unknown_type(raw: psycopg.Connection[Any]) -> None:
    raw.execute(UPDATE_ONE, [object()])


def a_value_that_fails(raw: psycopg.Connection[Any]) -> None:
    raw.execute(UPDATE_ONE, [2**70 * 1j])


def ddl_with_a_value_too_many(raw: psycopg.Connection[Any]) -> None:
    raw.execute("ALTER TABLE dry_row ALTER number SET NOT NULL", [1])


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize(
    "code",
    [too_many_values, a_value_of_an_unknown_type, a_value_that_fails, ddl_with_a_value_too_many],
)
def test_what_the_driver_refuses_leaves_no_savepoint(
    code: Callable[[psycopg.Connection[Any]], None], *, atomic: bool
) -> None:
    def swallow() -> None:
        raw = connection.connection
        for _ in range(3):
            with suppress(psycopg.Error, TypeError):
                code(raw)
        with transaction.atomic():
            session = Session(raw)
            with pytest.raises(psycopg.errors.InvalidSavepointSpecification):
                session.query("SAVEPOINT dry_test; RELEASE SAVEPOINT confiture_statement")
            session.query("ROLLBACK TO SAVEPOINT dry_test; RELEASE SAVEPOINT dry_test")

    passed(python(swallow), atomic=atomic)


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_copy_that_python_breaks_off(*, atomic: bool) -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            with suppress(ZeroDivisionError), cursor.copy("COPY dry_row (id) FROM STDIN") as copy:
                copy.write_row([1 // 0])
            cursor.execute("SELECT 1")

    result = rehearse(migration(python(code), atomic=atomic)).migrations[0]

    assert result.outcome == ("failed" if atomic else "passed")


def test_the_search_for_rows_that_a_commit_fails_on_is_no_scan_of_the_migration() -> None:
    creates = runs(
        "CREATE TABLE dry_line (row_id int REFERENCES dry_row DEFERRABLE INITIALLY DEFERRED)"
    )
    inserts = runs("INSERT INTO dry_line VALUES (99999)")

    _first, result = rehearse(migration(creates), migration(inserts, name="0002_x")).migrations

    assert result.error is not None
    assert result.error.violations is not None
    assert [each.relation for each in result.tables if each.rows_scanned] == []


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize(
    "refused",
    [
        "CREATE UNIQUE INDEX dry_code ON dry_row (code)",
        "ALTER TABLE dry_row ADD CHECK (number > 5)",
        "ALTER TABLE dry_row ALTER code TYPE integer USING code::integer",
    ],
)
def test_the_search_for_rows_that_a_statement_fails_on_is_no_scan_of_the_next(
    refused: str, *, atomic: bool
) -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            with suppress(Exception), transaction.atomic():
                cursor.execute(refused)
            cursor.execute("UPDATE dry_row SET number = 1")

    refused_one, update = passed(python(code), atomic=atomic).operations[0].statements

    assert [scan.rows for scan in update.scans] == [1000]
    assert [scan.passes for scan in refused_one.scans] == [1]


@pytest.mark.parametrize(
    "refused",
    [
        "CREATE UNIQUE INDEX CONCURRENTLY dry_code ON dry_row (code)",
        "DROP INDEX CONCURRENTLY dry_nowhere",
        "REINDEX INDEX CONCURRENTLY dry_nowhere",
        "ALTER TABLE dry_row DETACH PARTITION dry_child CONCURRENTLY",
    ],
)
def test_what_a_real_migrate_asks_after_a_failure_is_no_statement_of_the_migration(
    refused: str,
) -> None:
    (operation,) = failed(runs(refused), atomic=False).operations

    assert [each.sql for each in operation.statements] == [refused]
