"""The dry run gives way: to sessions that wait for it, and to those that it waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from pytest_django import Settings

from django_confiture import DryRunExecutor, Hook, HookContext, HookPhase, HookResult, RunHook
from django_confiture.dry_run.results import Report, Waiter
from django_confiture.exceptions import DryRunRefused, DryRunYielded
from django_confiture.management.exit_codes import exit_code
from django_confiture.reports import render
from tests.support.dry_run import (
    executes,
    migration,
    parameters,
    plain_connection,
    python,
    rehearse,
    runs,
)
from tests.support.server import OwnServer, own_server

__all__ = ["own_server"]

pytestmark = pytest.mark.usefixtures("untouched")

LOCK = runs("LOCK TABLE dry_row IN ACCESS EXCLUSIVE MODE")
LOCK_CHILD = runs("LOCK TABLE dry_child IN SHARE MODE")
LOCKED_WITHIN_S = 60.0  # a busy machine takes its time until the first statement
HELD_FOR_S = 5.0  # what the migrations below would take if they did not have to give way


class Victim:
    """Another client, whose UPDATE waits for the dry run."""

    stall_s = 0.0

    def run(self, other: psycopg.Connection[Any]) -> None:
        other.execute("SET application_name = 'victim'")
        wait_until_locked(other)
        started = time.monotonic()
        other.execute("UPDATE dry_row SET number = number WHERE id = 1")
        self.stall_s = time.monotonic() - started


def wait_until_locked(other: psycopg.Connection[Any], table: str = "dry_row") -> None:
    until = time.monotonic() + LOCKED_WITHIN_S
    while time.monotonic() < until:
        held = other.execute(
            "SELECT FROM pg_locks WHERE relation = %s::regclass AND granted"
            " AND mode = 'AccessExclusiveLock'",
            [table],
        )
        if held.rowcount:
            # It plays another process: the dry run lets the connections of its own only read.
            other.execute("SET default_transaction_read_only = off")
            return
        time.sleep(0.01)


@contextmanager
def victim() -> Iterator[Victim]:
    found = Victim()
    # Opened here: one that the dry run sees being opened is not a stranger's.
    with plain_connection() as other:
        thread = threading.Thread(target=found.run, args=[other])
        thread.start()
        try:
            yield found
        finally:
            thread.join()


def many_short_statements() -> None:
    until = time.monotonic() + HELD_FOR_S
    with connection.cursor() as cursor:
        while time.monotonic() < until:
            cursor.execute("SELECT count(*) FROM dry_parent")


def swallows_everything() -> None:
    until = time.monotonic() + HELD_FOR_S
    while time.monotonic() < until:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.05)")
        except Exception:  # noqa: BLE001
            time.sleep(0.01)


@pytest.mark.parametrize(
    "busy",
    [
        pytest.param(executes(f"SELECT pg_sleep({HELD_FOR_S})"), id="a long statement"),
        pytest.param(python(lambda: time.sleep(HELD_FOR_S / 2)), id="Python"),
        pytest.param(python(many_short_statements), id="short statements"),
        pytest.param(python(swallows_everything), id="a migration that swallows errors"),
    ],
)
def test_gives_way_to_who_waits(busy: object) -> None:
    with victim() as other:
        report = rehearse(migration(LOCK, busy))  # type: ignore[arg-type]

    assert report.outcome == "yielded"
    assert other.stall_s < HELD_FOR_S / 4
    (waiter,) = report.yielded_to
    assert (waiter.application, waiter.relation) == ("victim", "dry_row")
    assert waiter.statement_kind == "UPDATE"
    assert waiter.waited_ms >= 200


def test_what_was_measured_until_then_is_reported() -> None:
    with victim():
        report = rehearse(
            migration(runs("UPDATE dry_parent SET name = name"), name="0001_before"),
            migration(LOCK, executes(f"SELECT pg_sleep({HELD_FOR_S})"), name="0002_blocking"),
            migration(runs("SELECT 1"), name="0003_after"),
        )

    assert [each.outcome for each in report.migrations] == ["passed", "not_run", "not_run"]
    assert report.migrations[0].rows_affected == 10
    assert report.migrations[1].operations[0].statements[0].locks


def test_nothing_yields_where_nothing_waits() -> None:
    report = rehearse(migration(LOCK, executes("SELECT pg_sleep(0.4)")))

    assert report.outcome == "passed"
    assert report.yielded_to == ()


def test_a_short_wait_is_within_the_budget(settings: Settings) -> None:
    settings.CONFITURE = {**settings.CONFITURE, "DRY_RUN": {"YIELD_AFTER": "4s"}}
    with victim() as other:
        report = rehearse(migration(LOCK, executes("SELECT pg_sleep(0.5)")))

    assert report.outcome == "passed"
    assert other.stall_s > 0.1


def test_gives_up_where_others_hold_the_lock(settings: Settings) -> None:
    settings.CONFITURE = {**settings.CONFITURE, "DRY_RUN": {"LOCK_TIMEOUT": "300ms"}}
    with plain_connection() as other, other.transaction():
        other.execute("SET application_name = 'long reader'")
        other.execute("SELECT FROM dry_row")
        report = rehearse(migration(runs("SELECT 1"), LOCK))

    assert (report.outcome, report.verdict) == ("failed", "stopped")
    assert report.migrations[0].outcome == "not_run"
    assert [each.rehearsed for each in report.migrations[0].operations] == [
        "exact",
        "not_rehearsed",
    ]
    (said,) = (each for each in report.warnings if "Gave up" in each)
    assert " for AccessExclusiveLock on dry_row, held by session" in said
    assert "long reader, idle in transaction" in said


def test_connections_of_its_own_are_no_victims() -> None:
    def waits_for_itself() -> None:
        def write() -> None:
            with connection.cursor() as cursor:
                cursor.execute("UPDATE dry_row SET number = number")

        failures: list[str] = []

        def run() -> None:
            try:
                write()
            except Exception as error:  # noqa: BLE001
                failures.append(str(error))
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert "lock timeout" in failures[0]

    report: Report = rehearse(migration(LOCK, python(waits_for_itself)))

    assert report.outcome == "passed", report.migrations[0].error


def test_the_executor_raises_who_waited() -> None:
    with victim(), pytest.raises(DryRunYielded, match="1 other session") as raised:
        DryRunExecutor().run(connection, migration(LOCK, runs(f"SELECT pg_sleep({HELD_FOR_S})")))

    (waiter,) = raised.value.waiters
    assert isinstance(waiter, Waiter)
    assert waiter.application == "victim"


def test_refuses_to_run_blind() -> None:
    with plain_connection() as other:
        other.execute("DROP ROLE IF EXISTS dry_alone")
        other.execute("CREATE ROLE dry_alone LOGIN CONNECTION LIMIT 1")
        other.execute("GRANT pg_read_all_data, pg_write_all_data TO dry_alone")
    before = connection.settings_dict["USER"]
    connection.close()
    connection.settings_dict["USER"] = "dry_alone"
    try:
        with pytest.raises(DryRunRefused, match=r"watchdog.* got no connection .*--no-watchdog"):
            rehearse(migration(runs("SELECT 1")))
    finally:
        connection.close()
        connection.settings_dict["USER"] = before
        with plain_connection() as other:
            other.execute("DROP ROLE dry_alone")


def test_leaves_no_connection_and_no_thread() -> None:
    rehearse(migration(runs("SELECT 1")))

    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
    with plain_connection() as other:
        values = [parameters()["dbname"], "django-confiture watchdog"]
        for _ in range(200):  # the server's process ends a moment after its connection
            if other.execute(query, values).fetchall() == [(0,)]:
                break
            time.sleep(0.02)
        else:
            raise AssertionError("the watchdog is still connected")
    assert not [t for t in threading.enumerate() if t.name == "confiture-watchdog"]


def test_a_migration_that_swallows_the_cancel_and_keeps_its_locks_is_terminated() -> None:
    """The first who waits gives up at once, so that no one waits when the statement is over."""

    def body() -> None:
        with connection.cursor() as cursor, suppress(DatabaseError), transaction.atomic():
            cursor.execute("SELECT pg_sleep(5)")
        time.sleep(HELD_FOR_S)

    stalls: list[float] = []

    def clients() -> None:
        for name in ("impatient", "patient"):
            with plain_connection() as other:
                other.execute(f"SET application_name = '{name}'")
                if name == "impatient":
                    wait_until_locked(other)
                    other.execute("SET lock_timeout = '230ms'")
                started = time.monotonic()
                with suppress(psycopg.errors.LockNotAvailable):
                    other.execute("UPDATE dry_row SET number = number WHERE id = 1")
                stalls.append(time.monotonic() - started)
            time.sleep(0.2)

    thread = threading.Thread(target=clients)
    thread.start()
    report = rehearse(migration(LOCK, python(body)))
    thread.join()

    assert report.outcome == "yielded"
    assert max(stalls) < 1.5


RAISES = """
CREATE FUNCTION dry_raises() RETURNS void LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'busy' USING ERRCODE = 'lock_not_available'; END $$;
SELECT dry_raises()
"""


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("LOCK TABLE dry_row IN SHARE MODE NOWAIT", "could not obtain lock on relation"),
        ("SELECT * FROM dry_row WHERE id = 1 FOR UPDATE NOWAIT", "could not obtain lock on"),
        (RAISES, ""),
    ],
    ids=["table", "row", "raised"],
)
def test_a_lock_that_the_migration_does_not_wait_for_is_its_own_failure(
    statement: str, message: str
) -> None:
    with plain_connection() as other, other.transaction(force_rollback=True):
        other.execute("UPDATE dry_row SET number = number WHERE id = 1")

        report = rehearse(migration(runs(statement)))

    (result,) = report.migrations
    assert (report.outcome, result.outcome) == ("failed", "failed")
    assert result.error is not None
    assert result.error.type == "LockNotAvailable"
    assert message in result.error.message
    assert report.warnings == ()


def test_a_lock_that_it_waits_for_in_vain_says_nothing_of_the_migration() -> None:
    with plain_connection() as other, other.transaction(force_rollback=True):
        other.execute("UPDATE dry_row SET number = number WHERE id = 1")

        report = rehearse(migration(runs("LOCK TABLE dry_row IN SHARE MODE")))

    (result,) = report.migrations
    assert (report.outcome, report.verdict, result.outcome) == ("failed", "stopped", "not_run")
    assert [each for each in report.warnings if "s for ShareLock on dry_row, held" in each]


class Locks(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE dry_row IN SHARE MODE")
        return HookResult("AFTER_DDL", "Locks")


def test_nor_does_one_that_its_hook_waits_for() -> None:
    with plain_connection() as other, other.transaction(force_rollback=True):
        other.execute("UPDATE dry_row SET number = number WHERE id = 1")

        report = rehearse(migration(RunHook(Locks)))

    (result,) = report.migrations
    assert (report.outcome, report.verdict, result.outcome) == ("failed", "stopped", "not_run")
    assert result.error is not None
    assert not result.error.blames_migration or result.error.message.startswith("Hook Locks failed")
    assert [each for each in report.warnings if "s for ShareLock on dry_row, held" in each]


def test_a_prepared_transaction_is_named(own_server: OwnServer, settings: Settings) -> None:
    settings.CONFITURE = {**settings.CONFITURE, "DRY_RUN": {"LOCK_TIMEOUT": "300ms"}}
    with own_server.started(max_prepared_transactions=2), own_server.connect() as other:
        other.execute("DROP TABLE IF EXISTS held; CREATE TABLE held (id int)")
        other.execute("BEGIN; INSERT INTO held VALUES (1); PREPARE TRANSACTION 'forgotten'")
        try:
            report = rehearse(migration(runs("ALTER TABLE held ADD extra int")))
        finally:
            other.execute("ROLLBACK PREPARED 'forgotten'")
            other.execute("DROP TABLE held")

    assert exit_code(report) == 2
    assert any("held by prepared transaction forgotten" in each for each in report.warnings)


WAITED_S = 0.6
WAITS = """
    SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE datname = current_database() AND NOT granted AND waitstart < clock_timestamp() - %s
"""


def let_wait(holder: psycopg.Connection[Any], seconds: float = WAITED_S) -> None:
    """Give the locks back once someone has waited for them for so long."""
    until = time.monotonic() + HELD_FOR_S
    while time.monotonic() < until:
        if holder.execute(WAITS, [timedelta(seconds=seconds)]).rowcount:
            break
        time.sleep(0.01)
    holder.execute("ROLLBACK")


@pytest.fixture
def _name_in_quotes(untouched: None) -> Iterator[None]:
    with plain_connection() as plain:
        plain.execute('CREATE TABLE "dry_Row" (id int)')
        yield
        plain.execute('DROP TABLE "dry_Row"')


@pytest.mark.usefixtures("_name_in_quotes")
@pytest.mark.parametrize(
    ("held", "statement", "relation"),
    [
        ("SELECT FROM dry_row", "ALTER TABLE dry_row ADD extra int", "dry_row"),
        ("UPDATE dry_row SET number = 0 WHERE id = 1", "UPDATE dry_row SET number = 1", "dry_row"),
        ('SELECT FROM "dry_Row"', 'ALTER TABLE "dry_Row" ADD extra int', "dry_Row"),
    ],
    ids=["a table", "a row", "a name in quotes"],
)
@pytest.mark.parametrize("atomic", [True, False])
def test_a_wait_is_in_no_time(held: str, statement: str, relation: str, *, atomic: bool) -> None:
    with plain_connection() as other:
        other.execute("SET application_name = 'holder'")
        other.execute("BEGIN")
        other.execute(held)
        thread = threading.Thread(target=let_wait, args=[other])
        thread.start()
        first = LOCK_CHILD if atomic else runs("SELECT 1")
        report = rehearse(migration(first, runs(statement), atomic=atomic))
        thread.join()

    assert report.outcome == "passed"
    (result,) = report.migrations
    (statement_result,) = result.operations[1].statements
    assert statement_result.waited_ms == pytest.approx(WAITED_S * 1000, rel=0.4)
    (wait,) = statement_result.waits
    assert wait.blocked_by == ("holder",)
    assert statement_result.duration_ms < WAITED_S * 500
    assert result.duration_ms < WAITED_S * 500
    tables = {each.relation: each for each in result.tables}
    assert tables[relation].waited_ms == pytest.approx(WAITED_S * 1000, rel=0.4)
    assert tables[relation].writes_blocked_ms < WAITED_S * 500
    if atomic:
        assert tables["dry_child"].writes_blocked_ms < WAITED_S * 500
        assert tables["dry_child"].waited_ms == 0
    assert "for holder" in render(report, "text", verbosity=2)


def test_all_that_held_it_during_one_wait_are_named() -> None:
    with plain_connection() as first, plain_connection() as last:
        for each, name in ((first, "first"), (last, "last")):
            each.execute(f"SET application_name = '{name}'")
            each.execute("BEGIN; SELECT FROM dry_row")

        def leave() -> None:
            let_wait(first)
            let_wait(last, 2 * WAITED_S)

        thread = threading.Thread(target=leave)
        thread.start()
        (result,) = rehearse(migration(runs("ALTER TABLE dry_row ADD extra int"))).migrations
        thread.join()

    (wait,) = result.operations[0].statements[0].waits
    assert set(wait.blocked_by) == {"first", "last"}
    assert wait.ms == pytest.approx(2 * WAITED_S * 1000, rel=0.4)


def test_without_a_second_connection_no_wait_is_seen(settings: Settings) -> None:
    settings.CONFITURE = {**settings.CONFITURE, "DRY_RUN": {"YIELD_AFTER": None}}
    (result,) = rehearse(migration(LOCK)).migrations
    assert result.operations[0].statements[0].waited_ms is None
    assert result.tables[0].waited_ms is None
