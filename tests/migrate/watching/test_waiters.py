"""Who counts as waiting for a migration: sessions, and not all that PostgreSQL runs itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection, connections, migrations
from pytest_django import Settings

from django_confiture.migrate.sessions.second_connection import connect_beside
from django_confiture.migrate.watching.activity import anyone_waits, who_waits_for_it
from django_confiture.migrate.watching.watch import Target, Watch
from tests.cases.migrations_on_disk import Cases
from tests.support import recording
from tests.support.logs import events
from tests.support.server import OwnServer, own_server
from tests.support.sessions import client, connect

__all__ = ["own_server"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = timedelta(milliseconds=300)
WORKERS_ALONE = (
    "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET jit = off;"
    "SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off;"
    "SELECT count(recording_looks(what)) FROM recording_log"
)


def until(true: Callable[[], bool]) -> None:
    for _ in range(1500):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come true")


@contextmanager
def watched(pid: int) -> Iterator[Watch]:
    """Watch a session with ``MAX_BLOCKING``."""
    wrapper = connections["default"]  # of this thread
    watch = Watch(
        lambda: connect_beside(wrapper, "watches"), [], own_pids=lambda: (), max_blocking=LIMIT
    )
    try:
        watch.follow(Target(pid, 1, None, {}))
        yield watch
    finally:
        watch.stop()


@contextmanager
def asking(session: psycopg.Connection[Any], statement: str) -> Iterator[None]:
    """Let a session ask for something that it has to wait for."""
    thread = threading.Thread(target=session.execute, args=[statement.encode()])
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("role", ["none", "pg_signal_backend"])
def test_a_wait_is_seen_with_the_right_to_see_what_sessions_of_others_do_and_without(
    role: str,
) -> None:
    with (
        recording.recording(),
        connect("blocks") as blocker,
        connect("waits", autocommit=True) as waiter,
        connect("looks", autocommit=True) as looker,
    ):
        looker.execute(f"SET ROLE {role}".encode())
        blocker.execute("LOCK recording_log")
        blocks, waits = blocker.info.backend_pid, waiter.info.backend_pid
        assert not anyone_waits(looker, waits)[0]
        with asking(waiter, "SELECT count(*) FROM recording_log"):
            until(lambda: anyone_waits(looker, waits)[0])
            assert anyone_waits(looker, blocks) == (False, True)
            blocker.rollback()
        assert not anyone_waits(looker, waits)[0]


@pytest.fixture
def looking() -> Iterator[None]:
    """Rows for parallel workers, and a function in which only they look at another table."""
    with recording.recording(), connect("prepares", autocommit=True) as session:
        session.execute(
            "INSERT INTO recording_log (what) SELECT i FROM generate_series(1, 20000) i;"
            "ANALYZE recording_log;"
            "CREATE FUNCTION recording_looks(what text) RETURNS text LANGUAGE plpgsql"
            " PARALLEL SAFE AS $$ BEGIN PERFORM FROM recording_parent; RETURN what; END $$"
        )
        yield
        session.execute("DROP FUNCTION recording_looks")
    connection.close()


def test_parallel_workers_that_wait_are_their_session(looking: None) -> None:
    with connect("migrates") as migrates, connect("shop", autocommit=True) as shop:
        pid, waiting = migrates.info.backend_pid, shop.info.backend_pid
        migrates.execute("LOCK recording_parent")
        with asking(shop, WORKERS_ALONE), connect("looks", autocommit=True) as looks:
            until(lambda: bool(who_waits_for_it(looks, pid)))
            types = looks.execute(
                "SELECT DISTINCT backend_type FROM pg_stat_activity JOIN pg_locks USING (pid)"
                " WHERE NOT granted AND datname = current_database()"
            )
            assert types.fetchall() == [("parallel worker",)]
            (waiter,) = who_waits_for_it(looks, pid)
            assert who_waits_for_it(looks, pid, own_pids=[waiting]) == ()
            migrates.rollback()
    assert (waiter.pid, waiter.application_name) == (waiting, "shop")
    assert waiter.relation == "recording_parent"


def test_a_migration_gives_way_to_a_query_whose_workers_wait(
    looking: None, cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def work(apps: object, schema_editor: object) -> None:
        if not events(caplog, "migration_gave_way"):
            time.sleep(3)

    alter = migrations.RunSQL("ALTER TABLE recording_parent ADD note text")
    cases.add("0001_blocks", alter, migrations.RunPython(work))
    given = {"MAX_BLOCKING": "300ms", "LOCK_RETRIES": 3, "RETRY_DELAY": "10ms"}
    settings.CONFITURE = {"MIGRATE": given}
    with client(WORKERS_ALONE) as shop:
        cases.migrate()
    assert cases.applied() == {"0001_blocks"}
    assert len(events(caplog, "migration_gave_way")) == 1
    assert shop.longest_s < 2


def test_an_autovacuum_that_waits_does_not_count(own_server: OwnServer) -> None:
    """One against wraparound waits for its lock; others let the table be."""
    with own_server.started(autovacuum_naptime=1), closing(own_server.connect()) as looks:
        looks.execute("CREATE TABLE old (id int) WITH (autovacuum_freeze_max_age = 100000)")
        looks.execute("INSERT INTO old SELECT generate_series(1, 100)")
        with closing(own_server.connect()) as migrates:
            migrates.execute("BEGIN; LOCK old")
            looks.execute(
                "DO $$ BEGIN FOR i IN 1 .. 101000 LOOP"
                " PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
            )
            waits = (
                "SELECT backend_type FROM pg_stat_activity JOIN pg_locks USING (pid)"
                " WHERE NOT granted AND relation = 'old'::regclass"
            )
            until(lambda: looks.execute(waits).fetchall() == [("autovacuum worker",)])
            pid = migrates.info.backend_pid
            assert who_waits_for_it(looks, pid) == ()
            with watched(pid) as watch:
                migrates.execute("SELECT pg_sleep(1)")
                assert watch.leave() is None
                watch.follow(Target(pid, 2, None, {}))
                with (
                    closing(own_server.connect()) as shop,
                    asking(shop, "SELECT count(*) FROM old"),
                    pytest.raises(psycopg.errors.QueryCanceled),
                ):
                    migrates.execute("SELECT pg_sleep(5)")
