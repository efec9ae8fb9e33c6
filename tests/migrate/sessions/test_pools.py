"""A real ``migrate`` through PgBouncer: its timeouts reach no other client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, migrations
from pytest_django import Settings

from django_confiture import exceptions
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.pools import behind_pgbouncer, pooled

CLIENTS = 6
TIMEOUTS = {"LOCK_TIMEOUT": "1500ms", "STATEMENT_TIMEOUT": "3s"}
SHOW = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"

Pools = Callable[[str], AbstractContextManager[None]]
both = pytest.mark.parametrize("pool", [pooled, behind_pgbouncer])

seen: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    seen.clear()
    with recording.recording():
        yield
    connection.close()


def look(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(SHOW)
        seen.append(cursor.fetchone())


@contextmanager
def busy_clients() -> Iterator[set[tuple[str, str]]]:
    """Let clients of the pool that "default" goes through ask for their timeouts all the time."""
    found: set[tuple[str, str]] = set()
    params = connection.get_connection_params()
    address = {name: params[name] for name in ("host", "port", "user", "dbname")}
    stop = threading.Event()
    ready = threading.Barrier(CLIENTS + 1)

    def client() -> None:
        with psycopg.connect(**address, autocommit=True, prepare_threshold=None) as session:
            session.execute("SELECT 1")
            ready.wait(10)
            while not stop.is_set():
                found.add(session.execute(SHOW).fetchone())  # type: ignore[arg-type]

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        ready.wait(10)
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_timeouts_hold_for_the_migration_and_reach_no_other_client(
    cases: Cases, settings: Settings
) -> None:
    for number in range(1, 6):
        cases.add(f"000{number}_looks", migrations.RunPython(look), recording.operation())
    settings.CONFITURE = {"MIGRATE": TIMEOUTS}
    with behind_pgbouncer("transaction"), busy_clients() as found:
        cases.migrate()
        for _ in range(50):
            found.update(query(SHOW))
    assert seen == [("1500ms", "3s")] * 5
    assert found == {("0", "0")}
    assert len(cases.applied()) == 5


def test_they_are_gone_after_a_failure_and_a_retry(cases: Cases, settings: Settings) -> None:
    cases.add("0001_fails", migrations.RunPython(look), migrations.RunSQL("SELECT 1 / 0"))
    settings.CONFITURE = {"MIGRATE": {**TIMEOUTS, "LOCK_RETRIES": 2}}
    with behind_pgbouncer("transaction"), busy_clients() as found:
        with pytest.raises(Exception, match="division by zero"):
            cases.migrate()
        for _ in range(50):
            found.update(query(SHOW))
    assert seen == [("1500ms", "3s")]
    assert found == {("0", "0")}


@both
def test_a_non_atomic_migration_with_timeouts_is_refused(
    cases: Cases, settings: Settings, pool: Pools
) -> None:
    cases.add("0001_fine", recording.operation())
    cases.add("0002_non_atomic", recording.operation(), atomic=False)
    settings.CONFITURE = {"MIGRATE": TIMEOUTS}
    with pool("transaction"), pytest.raises(exceptions.MigrateRefused) as refused:
        call_command("migrate", "cases", verbosity=0)
    assert str(refused.value) == (
        "The connection to 'default' goes through a pool whose sessions are shared between clients "
        '(transaction pooling), and the timeouts of CONFITURE["MIGRATE"] can\'t hold for '
        "cases.0002_non_atomic, which is not atomic, without reaching those clients; let migrate "
        "connect to PostgreSQL itself or to a pool in session mode, or leave LOCK_TIMEOUT and "
        "STATEMENT_TIMEOUT out for it."
    )
    assert recording.persisted() == []
    assert cases.applied() == set()


@both
@pytest.mark.parametrize("given", [{}, {"MIGRATE": {"LOCK_RETRIES": 3}}])
def test_without_timeouts_nothing_is_refused(
    cases: Cases, settings: Settings, pool: Pools, given: dict[str, Any]
) -> None:
    cases.add("0001_non_atomic", recording.operation(), atomic=False)
    settings.CONFITURE = given
    with pool("transaction"):
        cases.migrate()
    assert recording.persisted() == ["operation"]


@both
def test_a_pool_in_session_mode_is_as_good_as_the_server(
    cases: Cases, settings: Settings, pool: Pools
) -> None:
    cases.add("0001_atomic", migrations.RunPython(look))
    cases.add("0002_non_atomic", migrations.RunPython(look), atomic=False)
    settings.CONFITURE = {"MIGRATE": TIMEOUTS}
    with pool("session"):
        cases.migrate()
        assert query(SHOW) == [("0", "0")]
    assert seen == [("1500ms", "3s")] * 2


def test_no_second_connection_to_find_out(
    cases: Cases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_confiture.migrate.sessions.second_connection.PATIENCE", 1)
    cases.add("0001_looks", migrations.RunPython(look))
    settings.CONFITURE = {"MIGRATE": {**TIMEOUTS, "ONE_AT_A_TIME": False}}
    with pooled("session", answers=1), pytest.raises(exceptions.MigrateRefused) as refused:
        cases.migrate()
    assert str(refused.value) == (
        "The connection to 'default' goes through a pool, and a second one, to see whether its "
        "sessions are shared, failed (no answer within 1 s); connect to PostgreSQL itself."
    )
    assert seen == []
