"""``MAX_BLOCKING`` where the process that migrates is stopped: the server keeps to the limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, migrations
from pytest_django import Settings

from django_confiture.exceptions import MigrationGaveWay
from django_confiture.migrate.watching import server_guard
from django_confiture.migrate.watching.watch import Watch
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.sessions import client, connect

LIMITED = {"MAX_BLOCKING": "200ms", "LOCK_RETRIES": 1, "RETRY_DELAY": "10ms"}
ALTER = migrations.RunSQL("ALTER TABLE recording_parent ADD note text")
READS = "SELECT count(*) FROM recording_parent"
ALIVE = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
GUARDS = "SELECT pid FROM pg_stat_activity WHERE query ~ '^\\s*DO .confiture_guard'"


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
    pid = schema_editor.connection.connection.info.backend_pid
    until = time.monotonic() + 30
    with connect("looks", autocommit=True) as other:
        while time.monotonic() < until:
            if not other.execute(ALIVE, [pid]).fetchone():
                break
            time.sleep(0.05)
    schema_editor.execute("SELECT 1")


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
    seen: list[int] = []

    def waits_for_the_guard(apps: Any, schema_editor: Any) -> None:
        until = time.monotonic() + 30
        with connect("looks", autocommit=True) as other:
            while not seen and time.monotonic() < until:
                seen.extend(pid for (pid,) in other.execute(GUARDS))
                time.sleep(0.05)
        time.sleep(0.6)  # longer than the watch may be silent

    cases.add("0001_long", ALTER, migrations.RunPython(waits_for_the_guard))
    settings.CONFITURE = {"MIGRATE": LIMITED}

    cases.migrate()

    assert seen
    until = time.monotonic() + 30
    while query(GUARDS) and time.monotonic() < until:
        time.sleep(0.05)
    assert query(GUARDS) == []
    assert cases.applied() == {"0001_long"}


def test_a_migration_that_is_not_atomic_has_none(cases: Cases, settings: Settings) -> None:
    """It keeps no locks between two statements, and CONCURRENTLY would wait for the guard's."""
    seen: list[Any] = []

    def looks(apps: Any, schema_editor: Any) -> None:
        time.sleep(0.5)
        seen.append(query(GUARDS))

    cases.add("0001_parts", migrations.RunPython(looks), atomic=False)
    settings.CONFITURE = {"MIGRATE": LIMITED}

    cases.migrate()

    assert seen == [[]]
