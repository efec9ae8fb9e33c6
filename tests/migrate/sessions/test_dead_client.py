"""The server ends what a ``migrate`` was at once its process is gone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connection, migrations
from pytest_django import Settings

from django_confiture.exceptions import MigrationSessionLost
from django_confiture.migrate.sessions import dead_client, migration_transaction
from tests.cases.migrations_on_disk import Cases
from tests.support import recording
from tests.support.sessions import connect

SETTING = "client_connection_check_interval"
SLEEPS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE query = 'SELECT pg_sleep(60)' AND datname = current_database()"
)


@pytest.fixture(autouse=True)
def _tables(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    quickly = f"{SETTING} = '50ms'"
    monkeypatch.setattr(dead_client, "_SETTING", quickly)
    monkeypatch.setattr(migration_transaction, "SET_FOR_TRANSACTION", f"SET LOCAL {quickly}")
    with recording.recording():
        yield
    connection.close()


def hangs_up_once_it_sleeps(fileno: int, gone: list[bool]) -> None:
    """Close the connection that migrates, as the kernel does for a process that is killed."""
    until = time.monotonic() + 30
    with connect("looks", autocommit=True) as other:
        while not other.execute(SLEEPS).fetchall() and time.monotonic() < until:
            time.sleep(0.01)
        with socket.fromfd(fileno, socket.AF_UNIX, socket.SOCK_STREAM) as ours:
            ours.shutdown(socket.SHUT_RDWR)
        while (left := other.execute(SLEEPS).fetchall()) and time.monotonic() < until:
            time.sleep(0.01)
        gone.append(not left)


@pytest.mark.parametrize("atomic", [True, False])
def test_with_max_blocking_a_killed_one_keeps_no_lock(
    cases: Cases, settings: Settings, *, atomic: bool
) -> None:
    settings.CONFITURE = {"MIGRATE": {"MAX_BLOCKING": "60s"}}
    cases.add("0001_sleeps", migrations.RunSQL("SELECT pg_sleep(60)"), atomic=atomic)
    connection.ensure_connection()
    gone: list[bool] = []
    facts = (connection.connection.fileno(), gone)
    thread = threading.Thread(target=hangs_up_once_it_sleeps, args=facts)
    thread.start()

    with pytest.raises(MigrationSessionLost):
        cases.migrate()

    thread.join()
    assert gone == [True]


@pytest.mark.parametrize("more", [{}, {"LOCK_TIMEOUT": "30s"}])
def test_without_it_the_server_is_not_asked_to(
    cases: Cases, settings: Settings, more: dict[str, str]
) -> None:
    settings.CONFITURE = {"MIGRATE": more}
    asks = f"DO $$ BEGIN ASSERT current_setting('{SETTING}') = '0'; END $$"
    cases.add("0001_asks", migrations.RunSQL(asks))

    cases.migrate()

    assert cases.applied() == {"0001_asks"}


def test_a_server_that_cannot_is_left_as_it_is(
    cases: Cases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One on Windows refuses the setting, as any server refuses a negative one."""
    unusable = f"SET LOCAL {SETTING} = -1"
    monkeypatch.setattr(migration_transaction, "SET_FOR_TRANSACTION", unusable)
    settings.CONFITURE = {"MIGRATE": {"MAX_BLOCKING": "60s"}}
    cases.add("0001_makes", migrations.RunSQL("CREATE TABLE cases_made ()"))

    cases.migrate()

    assert cases.applied() == {"0001_makes"}
