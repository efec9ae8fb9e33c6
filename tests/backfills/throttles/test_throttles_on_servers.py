"""Throttles that look at replicas, autovacuum and the archiver, each of which is really there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from django_confiture.backfills.throttles import Moment
from django_confiture.backfills.throttles import shipped as throttles
from tests.support.server import OwnServer, own_server

__all__ = ["own_server"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)
MOMENT = Moment("default", "filled", 0.0, 0.0)


def said(reason: Callable[[Moment], str]) -> str:
    """Wait for a throttle to hold; return what it says then."""
    for _ in range(1500):
        if found := reason(MOMENT):
            return found
        time.sleep(0.02)
    raise AssertionError("the throttle never held")


def until_silent(reason: Callable[[Moment], str]) -> None:
    for _ in range(1500):
        if not reason(MOMENT):
            return
        time.sleep(0.02)
    raise AssertionError(f"the throttle still holds: {reason(MOMENT)}")


def test_a_replica_that_stops_to_replay_holds_until_it_is_level(own_server: OwnServer) -> None:
    with own_server.started(), own_server.standby() as standby:
        own_server.query_alone("DROP TABLE IF EXISTS filled")
        own_server.query_alone("CREATE TABLE filled (id int)")
        throttle = throttles.ReplicationLag(limit="300ms")
        until_silent(throttle.reason)
        standby.execute("SELECT pg_wal_replay_pause()")
        own_server.query_alone("INSERT INTO filled SELECT generate_series(1, 20000)")
        assert said(throttle.reason).endswith(" s behind, the limit is 0.3 s")
        standby.execute("SELECT pg_wal_replay_resume()")
        until_silent(throttle.reason)


def test_autovacuum_at_work_on_the_table_holds_for_so_long(own_server: OwnServer) -> None:
    slow: dict[str, int | str] = {
        "autovacuum_naptime": 1,
        "autovacuum_vacuum_threshold": 10,
        "autovacuum_vacuum_cost_delay": "100ms",
        "autovacuum_vacuum_cost_limit": 1,
    }
    with own_server.started(**slow):
        own_server.query_alone("DROP TABLE IF EXISTS filled")
        own_server.query_alone("CREATE TABLE filled AS SELECT generate_series(1, 50000) AS id")
        own_server.query_alone("UPDATE filled SET id = id + 1")
        throttle, hasty = throttles.Autovacuum(), throttles.Autovacuum(at_most="10ms")
        assert said(throttle.reason) == said(hasty.reason) == "autovacuum is at work on filled"
        time.sleep(0.05)
        assert (throttle.reason(MOMENT) != "", hasty.reason(MOMENT)) == (True, "")
        other = Moment("default", "pg_catalog.pg_class", 0.0, 0.0)
        assert throttles.Autovacuum().reason(other) == ""


def test_wal_that_is_not_archived_holds_until_it_is(own_server: OwnServer) -> None:
    throttle = throttles.WalArchiving(max_segments=2)
    with own_server.started(archive_mode="on"), archived_by(own_server, "/bin/true"):
        assert throttle.reason(MOMENT) == ""
        write_segments(own_server, 1)
        until_archived(own_server)
        with archived_by(own_server, "/bin/false"):
            write_segments(own_server, 3)
            found = throttle.reason(MOMENT)
            assert found.endswith(" WAL segments wait to be archived, the limit is 2")
            assert int(found.partition(" ")[0]) in (3, 4)
        until_silent(throttle.reason)


@contextmanager
def archived_by(server: OwnServer, command: str) -> Iterator[None]:
    ((before,),) = server.query("SHOW archive_command")
    set_archive_command(server, command)
    try:
        yield
    finally:
        set_archive_command(server, before)


def set_archive_command(server: OwnServer, command: str) -> None:
    server.query_alone(f"ALTER SYSTEM SET archive_command = '{command}'")
    server.query("SELECT pg_reload_conf()")
    while server.query("SHOW archive_command") not in ([(command,)], [("(disabled)",)]):
        time.sleep(0.02)


def write_segments(server: OwnServer, number: int) -> None:
    for _ in range(number):
        server.query_alone("CREATE TABLE IF NOT EXISTS written (); DROP TABLE written")
        server.query("SELECT pg_switch_wal()")


def until_archived(server: OwnServer) -> None:
    query = "SELECT count(*) FROM pg_stat_archiver WHERE last_archived_wal IS NOT NULL"
    for _ in range(1500):
        if server.query(query) == [(1,)]:
            return
        time.sleep(0.02)
    raise AssertionError("nothing was archived")
