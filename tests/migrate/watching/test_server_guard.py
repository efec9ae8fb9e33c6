"""``MAX_BLOCKING`` where the process that migrates is stopped: the server keeps to the limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, migrations
from pytest_django import Settings

from django_confiture.exceptions import MigrationGaveWay
from django_confiture.migrate.watching import server_guard, watch
from django_confiture.migrate.watching.watch import Watch
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.logs import events
from tests.support.pools import behind_pgbouncer, pooled
from tests.support.sessions import client, connect

LIMITED = {"MAX_BLOCKING": "200ms", "LOCK_RETRIES": 1, "RETRY_DELAY": "10ms"}
ALTER = migrations.RunSQL("ALTER TABLE recording_parent ADD note text")
READS = "SELECT count(*) FROM recording_parent"
ALIVE = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
GUARDS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE query ~ '^\\s*DO .confiture_guard' AND datname = current_database()"
)


@pytest.fixture(autouse=True)
def _tables(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(server_guard, "SILENT_S", 0.3)
    with recording.recording():
        yield
    connection.close()


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the watch's thread stop once the guard is there, as SIGSTOP lets all threads.

    Before that, it is not to be faster than the guard.
    """
    look = Watch._look
    monkeypatch.setattr(Watch, "_limit", lambda *_facts: None)

    def stops(self: Any, target: Any) -> None:
        if self._guard is None:
            look(self, target)

    monkeypatch.setattr(Watch, "_look", stops)


def until_ended(apps: Any, schema_editor: Any) -> None:
    """Do nothing until the server has ended the session, then send something."""
    until_no_session(schema_editor.connection.connection.info.backend_pid)
    schema_editor.execute("SELECT 1")


def until_no_session(pid: int) -> None:
    until = time.monotonic() + 30
    with connect("looks", autocommit=True) as other:
        while time.monotonic() < until:
            if not other.execute(ALIVE, [pid]).fetchone():
                break
            time.sleep(0.05)


def waits_for_the_guard(apps: Any, schema_editor: Any) -> None:
    until = time.monotonic() + 30
    with connect("looks", autocommit=True) as other:
        while not other.execute(GUARDS).fetchall() and time.monotonic() < until:
            time.sleep(0.05)


@pytest.mark.usefixtures("stopped")
def test_the_server_ends_a_session_whose_process_does_nothing(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_blocks", ALTER, migrations.RunPython(until_ended))
    settings.CONFITURE = {"MIGRATE": {**LIMITED, "LOCK_RETRIES": 0}}

    with client(READS), pytest.raises(MigrationGaveWay) as caught:
        cases.migrate()

    said = str(caught.value)
    assert said.startswith("cases.0001_blocks gave way: shop (pid ")
    assert "The process that migrates had stopped, or did not get to look" in said
    assert "All of it was rolled back." in said
    assert cases.applied() == set()


@pytest.mark.usefixtures("stopped")
def test_it_is_tried_again(cases: Cases, settings: Settings) -> None:
    attempts: list[int] = []

    def once(apps: Any, schema_editor: Any) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            until_ended(apps, schema_editor)

    cases.add("0001_blocks", ALTER, migrations.RunPython(once))
    settings.CONFITURE = {"MIGRATE": LIMITED}

    with client(READS):
        cases.migrate()

    assert len(attempts) == 2
    assert cases.applied() == {"0001_blocks"}


def test_it_leaves_alone_what_blocks_no_one_and_ends_with_the_attempt(
    cases: Cases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def is_guarded(apps: Any, schema_editor: Any) -> None:
        waits_for_the_guard(apps, schema_editor)
        with connect("looks", autocommit=True) as other:
            seen.extend(other.execute(GUARDS))
        time.sleep(0.6)  # longer than the watch may be silent

    cases.add("0001_long", ALTER, migrations.RunPython(is_guarded))
    settings.CONFITURE = {"MIGRATE": LIMITED}

    cases.migrate()

    assert seen
    until = time.monotonic() + 30
    while query(GUARDS) and time.monotonic() < until:
        time.sleep(0.05)
    assert query(GUARDS) == []
    assert cases.applied() == {"0001_long"}


@pytest.mark.usefixtures("stopped")
def test_the_block_of_a_migration_that_is_not_atomic(cases: Cases, settings: Settings) -> None:
    def blocks(apps: Any, schema_editor: Any) -> None:
        schema_editor.execute("ALTER TABLE recording_parent ADD note text")
        until_ended(apps, schema_editor)

    cases.add("0001_block", migrations.RunPython(blocks, atomic=True), atomic=False)
    settings.CONFITURE = {"MIGRATE": LIMITED}

    with client(READS), pytest.raises(MigrationGaveWay) as caught:
        cases.migrate()

    assert "It is not atomic, so parts of it are committed" in str(caught.value)
    assert query("SELECT count(*) FROM pg_attribute WHERE attname = 'note'") == [(0,)]


@pytest.mark.usefixtures("stopped")
def test_a_statement_of_one_that_is_not_atomic_is_left_to_end(
    cases: Cases, settings: Settings
) -> None:
    """The server ends it, and frees its locks, without the process."""
    cases.add(
        "0001_statement",
        migrations.RunSQL("DO $$BEGIN LOCK recording_parent; PERFORM pg_sleep(1.5); END$$"),
        atomic=False,
    )
    settings.CONFITURE = {"MIGRATE": LIMITED}

    with client(READS) as shop:
        cases.migrate()

    assert shop.longest_s > 0.5  # SILENT_S, and then a look
    assert cases.applied() == {"0001_statement"}


def test_concurrently_hardly_waits_for_it_and_that_is_no_news(
    cases: Cases,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_guard, "_LOOK_S", 1.0)  # or it would be too short for news
    build = "CREATE INDEX CONCURRENTLY cases_hardly ON recording_parent (id)"
    cases.add(
        "0001_index",
        migrations.RunPython(waits_for_the_guard),
        migrations.RunSQL(build),
        atomic=False,
    )
    settings.CONFITURE = {"MIGRATE": {"MAX_BLOCKING": "200ms", "LOCK_TIMEOUT": "3s"}}

    cases.migrate()

    assert query("SELECT indisvalid FROM pg_index WHERE indexrelid = 'cases_hardly'::regclass") == [
        (True,)
    ]
    assert events(caplog, "migration_waits") == []


WATCHES = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'django-confiture watch'"
    " AND query !~ 'confiture_guard' AND datname = current_database()"
)


@pytest.mark.parametrize("ended", [GUARDS, WATCHES], ids=["guard", "watch"])
def test_another_one_takes_the_place_of_one_that_lost_its_session_or_the_watch(
    cases: Cases,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    ended: str,
) -> None:
    monkeypatch.setattr(watch, "_RECONNECT_S", 0.1)
    found: list[Any] = []

    def ends_one(apps: Any, schema_editor: Any) -> None:
        waits_for_the_guard(apps, schema_editor)
        until = time.monotonic() + 30
        with connect("looks", autocommit=True) as other:
            before = other.execute(GUARDS).fetchall()
            other.execute(f"SELECT pg_terminate_backend(pid) FROM ({ended}) one")
            while not found and time.monotonic() < until:
                time.sleep(0.05)
                found.extend(set(other.execute(GUARDS).fetchall()) - set(before))

    cases.add("0001_long", ALTER, migrations.RunPython(ends_one))
    settings.CONFITURE = {"MIGRATE": LIMITED}

    cases.migrate()

    assert found
    assert warned(caplog) == []
    assert cases.applied() == {"0001_long"}


def test_one_that_cannot_run_is_told_once(
    cases: Cases,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As for a role without the right to use PL/pgSQL."""
    monkeypatch.setattr(server_guard, "_LOOP", "DO 'BEGIN PERFORM no_such_function(); END'")
    cases.add("0001_long", migrations.RunSQL("SELECT pg_sleep(1)"))
    settings.CONFITURE = {"MIGRATE": LIMITED}

    cases.migrate()

    (said,) = warned(caplog)
    assert "MAX_BLOCKING does not hold: function no_such_function() does not exist" in said


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    return [each for each in said if each.startswith("Should this process be stopped")]


def test_without_a_third_connection_one_warning_says_so(
    cases: Cases,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_facts: Any, **_more: Any) -> Any:
        raise psycopg.OperationalError("sorry, too many clients already")

    monkeypatch.setattr(server_guard, "ServerGuard", full)
    for name in ("0001_first", "0002_second"):
        cases.add(name, migrations.RunSQL("SELECT pg_sleep(0.4)"))
    settings.CONFITURE = {"MIGRATE": LIMITED}

    cases.migrate()

    (said,) = warned(caplog)
    assert "MAX_BLOCKING does not hold: no third connection (sorry, too many clients" in said
    assert "Set idle_in_transaction_session_timeout for the role that migrates" in said


@pytest.mark.parametrize("pool", [pooled, behind_pgbouncer])
def test_a_pool_that_shares_sessions_is_named_in_one_warning(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture, pool: Any
) -> None:
    cases.add("0001_long", migrations.RunSQL("SELECT pg_sleep(0.4)"))
    settings.CONFITURE = {"MIGRATE": LIMITED}

    with pool("transaction"):
        cases.migrate()

    (said,) = warned(caplog)
    assert "the pool shares its sessions between clients" in said


@pytest.mark.usefixtures("stopped")
def test_it_holds_through_a_pool_that_gives_each_client_a_session(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def until_gone(apps: Any, schema_editor: Any) -> None:
        ((pid,),) = query("SELECT pg_backend_pid()")
        until_no_session(pid)
        schema_editor.execute("SELECT 1")

    cases.add("0001_blocks", ALTER, migrations.RunPython(until_gone))
    settings.CONFITURE = {"MIGRATE": {**LIMITED, "LOCK_RETRIES": 0}}

    with client(READS), behind_pgbouncer("session"), pytest.raises(MigrationGaveWay) as caught:
        cases.migrate()

    assert "The process that migrates had stopped" in str(caught.value)
    assert warned(caplog) == []
