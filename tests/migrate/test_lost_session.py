"""A migration whose session the server ends: one line says what happened, where, and the way on."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.core.management.base import CommandError
from django.db import (
    DatabaseError,
    OperationalError,
    close_old_connections,
    connection,
    migrations,
    transaction,
)
from django.db.models.signals import post_migrate, pre_migrate
from pytest_django import Settings

from django_confiture import Hook, HookContext, HookPhase, HookResult
from django_confiture.exceptions import HookError, MigrationSessionLost
from django_confiture.migrate.sessions import migration_transaction
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.sessions import connect

TERMINATED = "terminating connection due to administrator command"
KILLS = migrations.RunSQL("SELECT pg_terminate_backend(pg_backend_pid())")
ALTER = migrations.RunSQL("ALTER TABLE recording_parent ADD note text")


@pytest.fixture(autouse=True)
def _tables(cases: Cases, settings: Settings) -> Iterator[None]:
    settings.CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "30s"}}
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


def commits_by_the_driver(apps: Any, schema_editor: Any) -> None:
    schema_editor.connection.connection.commit()


@pytest.mark.parametrize(
    "commits",
    [
        migrations.RunSQL("COMMIT"),
        migrations.RunSQL("COMMIT; BEGIN; SELECT 1"),
        migrations.RunSQL("COMMIT AND CHAIN"),
        migrations.RunPython(commits_by_the_driver),
    ],
    ids=["commit", "script", "chain", "driver"],
)
def test_one_that_has_sent_a_commit_of_its_own_says_so(cases: Cases, commits: Any) -> None:
    cases.add("0001_commits", ALTER, commits, KILLS)

    said = lost(cases)

    assert "It had sent a COMMIT of its own, so what it did before that is committed" in said
    assert "rolled back" not in said
    assert query("SELECT count(note) FROM recording_parent") == [(0,)]


def test_where_the_server_does_not_answer_nothing_is_claimed(
    cases: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_transaction, "PATIENCE_S", 0.2)

    def refuses(*_facts: Any) -> Any:
        raise psycopg.OperationalError("the database system is in recovery mode")

    monkeypatch.setattr(migration_transaction, "connect_beside", refuses)
    cases.add("0001_killed", ALTER, KILLS)

    assert "All of it was rolled back, unless it sent a COMMIT of its own" in lost(cases)


def test_with_no_setting_the_server_is_not_asked(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {}
    cases.add("0001_killed", ALTER, KILLS)

    assert "All of it was rolled back, unless it sent a COMMIT of its own" in lost(cases)


def test_a_server_that_has_not_noticed_is_named(
    cases: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's end of the connection is gone, while another process keeps the server's."""
    monkeypatch.setattr(migration_transaction, "PATIENCE_S", 0.2)
    kept: list[int] = []

    def breaks(apps: Any, schema_editor: Any) -> None:
        raw = schema_editor.connection.connection
        kept.append(os.dup(raw.fileno()))
        ours, theirs = socket.socketpair()
        theirs.close()
        with ours:
            os.dup2(ours.fileno(), raw.fileno())
        schema_editor.execute("SELECT 1")

    cases.add("0001_breaks", ALTER, migrations.RunPython(breaks))

    try:
        assert "The server has not ended its transaction yet" in lost(cases)
    finally:
        os.close(kept[0])


@pytest.mark.parametrize(
    ("more", "way_on"),
    [
        ({}, 'with CONFITURE["MIGRATE"]["RESUME"] = True'),
        ({"RESUME": True}, "it goes on at the first operation that was not done."),
    ],
)
def test_one_that_is_not_atomic_says_what_is_left(
    history: None, cases: Cases, settings: Settings, more: dict[str, Any], way_on: str
) -> None:
    settings.CONFITURE = {"MIGRATE": more}
    cases.add("0001_killed", ALTER, KILLS, atomic=False)

    said = lost(cases)

    assert f"It was in operation 2, {KILLS.describe()}." in said
    assert "It is not atomic, so what it had done is committed" in said
    assert way_on in said


def test_one_that_can_not_connect_again_names_what_ended_its_session(
    cases: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django wants a new connection at the end of a block, while the server is shut down."""

    def restarts(apps: Any, schema_editor: Any) -> None:
        with transaction.atomic():
            patched.setitem(connection.settings_dict, "PORT", "1")
            schema_editor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    cases.add("0001_killed", ALTER, migrations.RunPython(restarts), atomic=False)

    with monkeypatch.context() as patched:
        said = lost(cases)

    assert f"as its database session ended: {TERMINATED}. It was in operation 2" in said
    assert "Someone ended it with pg_terminate_backend(), or the server was stopped." in said


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
    """The server is asked on another connection how the transaction ended."""

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
    assert "All of it was rolled back. Run migrate again" in said


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("close", [close_old_connections, connection.close])
def test_one_that_closed_its_own_connection_is_not_to_be_run_again(
    cases: Cases, close: Callable[[], None], *, atomic: bool
) -> None:
    def closes(apps: Any, schema_editor: Any) -> None:
        with transaction.atomic():
            close()
            schema_editor.execute("SELECT 1")

    cases.add("0001_closes", ALTER, migrations.RunPython(closes), atomic=atomic)

    said = lost(cases)

    assert "Its own code has closed the connection inside a transaction" in said
    assert "It was in operation 2, Raw Python operation." in said
    assert "Run migrate again" not in said
    assert ("It is not atomic, so what it had done is committed" in said) is not atomic
    assert cases.applied() == set()


@pytest.mark.parametrize("atomic", [True, False])
def test_one_that_is_killed_in_a_block_of_its_own_has_closed_nothing(
    cases: Cases, *, atomic: bool
) -> None:
    def works(apps: Any, schema_editor: Any) -> None:
        with transaction.atomic(), transaction.atomic():
            killed_in_python(apps, schema_editor)

    cases.add("0001_killed", migrations.RunPython(works), atomic=atomic)

    said = lost(cases)

    assert TERMINATED in said
    assert "Its own code" not in said


KILLS_AT_COMMIT = migrations.RunSQL("""
CREATE TEMP TABLE ends (id int);
CREATE FUNCTION pg_temp.ends() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER ends AFTER INSERT ON ends DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION pg_temp.ends();
INSERT INTO ends VALUES (1);
""")


@pytest.mark.parametrize(
    ("before", "left"),
    [
        ((ALTER,), "All of it was rolled back. Run migrate again"),
        (
            (ALTER, migrations.RunSQL("COMMIT; BEGIN")),
            "It was at its COMMIT, so it may have been applied or not",
        ),
    ],
    ids=["alone", "after a commit of its own"],
)
def test_a_session_that_ends_in_the_commit(cases: Cases, before: Any, left: str) -> None:
    cases.add("0001_breaks", *before, KILLS_AT_COMMIT)

    assert left in lost(cases)
    assert cases.applied() == set()


def test_other_errors_stay_as_they_are(cases: Cases) -> None:
    cases.add("0001_fails", migrations.RunSQL("SELECT 1/0"))

    with pytest.raises(Exception, match="division by zero") as caught:
        cases.migrate()
    assert not isinstance(caught.value, MigrationSessionLost)


# Outside of a migration.


def kills(**_facts: Any) -> None:
    query("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize("signal", [pre_migrate, post_migrate], ids=["pre", "post"])
@pytest.mark.parametrize("given", [{}, {"MIGRATE": {"LOCK_TIMEOUT": "30s"}}], ids=["none", "set"])
def test_a_receiver_whose_session_ends_stops_with_one_line(
    cases: Cases, settings: Settings, given: dict[str, Any], signal: Any
) -> None:
    settings.CONFITURE = given
    cases.add("0001_alters", ALTER)
    signal.connect(kills)
    try:
        said = lost(cases)
    finally:
        signal.disconnect(kills)

    assert said == (
        f"migrate stopped, as its database session ended: {TERMINATED}. It was between "
        "migrations, or in a receiver. Someone ended it with pg_terminate_backend(), or the server "
        "was stopped. Each migration that showmigrations marks is applied. Run migrate again: it "
        "applies what is missing, and sends post_migrate."
    )
    connection.close()
    assert cases.applied() == ({"0001_alters"} if signal is post_migrate else set())
    assert connection.execute_wrappers == []


def test_one_that_could_not_be_recorded_is_named(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {}

    def killed_at_the_end(apps: Any, schema_editor: Any) -> None:
        pid = schema_editor.connection.connection.info.backend_pid
        with connect("colleague") as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    ends = migrations.RunPython(killed_at_the_end)
    cases.add("0001_ends", migrations.RunPython(migrations.RunPython.noop), ends, atomic=False)

    assert lost(cases).endswith(
        "cases.0001_ends has run to its end, which could not be recorded: record it with migrate "
        "--fake, and then run migrate again."
    )
    connection.close()
    assert cases.applied() == set()


def test_what_was_recorded_is_not_named(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {}
    cases.add("0001_ends", ALTER, atomic=False)
    post_migrate.connect(kills)
    try:
        assert "Each migration that showmigrations marks is applied" in lost(cases)
    finally:
        post_migrate.disconnect(kills)
        connection.close()


def test_a_session_that_ends_after_a_migrate_that_failed_is_not_of_it(cases: Cases) -> None:
    def fails(**_facts: Any) -> None:
        raise ZeroDivisionError

    cases.add("0001_alters", ALTER)
    pre_migrate.connect(fails)
    try:
        with pytest.raises(ZeroDivisionError) as caught:
            cases.migrate()
    finally:
        pre_migrate.disconnect(fails)

    with pytest.raises(OperationalError) as later:
        kills()
    connection.close()
    assert not isinstance(later.value, MigrationSessionLost)
    assert caught.traceback  # whose frames keep what belonged to that migrate
