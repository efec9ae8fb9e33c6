"""A migration whose session the server ends: one line says what happened, where, and the way on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import DatabaseError, OperationalError, connection, migrations
from pytest_django import Settings

from django_confiture import Hook, HookContext, HookPhase, HookResult
from django_confiture.exceptions import HookError, MigrationSessionLost
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.sessions import connect

TERMINATED = "terminating connection due to administrator command"
KILLS = migrations.RunSQL("SELECT pg_terminate_backend(pg_backend_pid())")
ALTER = migrations.RunSQL("ALTER TABLE recording_parent ADD note text")


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    with recording.recording():
        yield
    connection.close()


def killed_in_python(apps: Any, schema_editor: Any) -> None:
    """What a colleague does while Python is busy: the next statement finds out."""
    pid = schema_editor.connection.connection.info.backend_pid
    with connect("colleague") as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    schema_editor.execute("SELECT 1")


def lost(cases: Cases) -> str:
    with pytest.raises(MigrationSessionLost) as caught:
        cases.migrate()
    assert isinstance(caught.value, CommandError | OperationalError)
    assert isinstance(caught.value.__cause__, DatabaseError)
    return str(caught.value)


@pytest.mark.parametrize("killer", [KILLS, migrations.RunPython(killed_in_python)])
def test_an_atomic_migration_is_rolled_back_and_begins_again(cases: Cases, killer: Any) -> None:
    cases.add("0001_killed", ALTER, killer)

    said = lost(cases)

    assert said == (
        f"cases.0001_killed stopped, as its database session ended: {TERMINATED}. It was in "
        f"operation 2, {killer.describe()}. Someone ended it with pg_terminate_backend(), or the "
        "server was stopped. All of it was rolled back. Run migrate again; it begins with this "
        "migration."
    )
    assert cases.applied() == set()
    query("SELECT count(*) FROM recording_parent")


@pytest.mark.parametrize(
    ("more", "way_on"),
    [
        ({}, 'with CONFITURE["MIGRATE"]["RESUME"] = True'),
        ({"RESUME": True}, "it goes on at the first operation that was not done."),
    ],
)
def test_one_that_is_not_atomic_says_what_is_left(
    cases: Cases, settings: Settings, more: dict[str, Any], way_on: str
) -> None:
    settings.CONFITURE = {"MIGRATE": more}
    cases.add("0001_killed", ALTER, KILLS, atomic=False)

    said = lost(cases)

    assert "operation 2" in said
    assert "It is not atomic, so what it had done is committed" in said
    assert way_on in said


@pytest.mark.parametrize(
    ("setting", "advice"),
    [("idle_in_transaction_session_timeout", "Raise idle_in_transaction_session_timeout")],
)
def test_a_timeout_of_the_role_is_named(cases: Cases, setting: str, advice: str) -> None:
    def waits(apps: Any, schema_editor: Any) -> None:
        schema_editor.execute(f"SET LOCAL {setting} = '50ms'")
        pid = schema_editor.connection.connection.info.backend_pid
        with connect("colleague", autocommit=True) as other:
            while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone():
                time.sleep(0.02)
        schema_editor.execute("SELECT 1")

    cases.add("0001_idle", migrations.RunPython(waits))

    assert advice in lost(cases)


def test_a_hook_that_loses_the_session_is_named(cases: Cases, settings: Settings) -> None:
    class Kills(Hook):
        phase = HookPhase.AFTER_DDL

        def execute(self, conn: Any, context: HookContext) -> HookResult:
            conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return HookResult(phase="AFTER_DDL", hook_name="Kills")

    cases.add("0001_killed", ALTER)
    settings.CONFITURE = {"PHASES": {"AFTER_DDL": [Kills]}}

    with pytest.raises(HookError, match=f"Hook Kills failed in phase AFTER_DDL: {TERMINATED}"):
        cases.migrate()


@pytest.mark.parametrize("action", ["terminate", "finish"])
def test_a_session_that_ends_before_the_commit(cases: Cases, action: str) -> None:
    """Of a connection that breaks there, no one can say whether it was applied."""

    def ends(apps: Any, schema_editor: Any) -> None:
        raw = schema_editor.connection.connection
        if action == "finish":
            raw.pgconn.finish()
            return
        with connect("colleague") as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [raw.info.backend_pid])

    cases.add("0001_breaks", ALTER, migrations.RunPython(ends))

    said = lost(cases)

    assert cases.applied() == set()
    if action == "terminate":
        assert "All of it was rolled back" in said


def test_other_errors_stay_as_they_are(cases: Cases) -> None:
    cases.add("0001_fails", migrations.RunSQL("SELECT 1/0"))

    with pytest.raises(Exception, match="division by zero") as caught:
        cases.migrate()
    assert not isinstance(caught.value, MigrationSessionLost)
