"""Through a pool: its sessions are the dry run's own, or it is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg
import pytest
from django.db import connection

from django_confiture.dry_run.server import second_connection
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.exceptions import DryRunRefused
from tests.dry_run.isolation.test_watchdog import HELD_FOR_S, LOCK, victim
from tests.support.dry_run import executes, migration, plain_connection, python, rehearse, runs
from tests.support.pools import behind_pgbouncer, pooled

pytestmark = pytest.mark.usefixtures("untouched")

SHARED = (
    "The connection to 'default' goes through a pool whose sessions are shared between clients "
    "(transaction pooling), so no session is the dry run's own; connect to PostgreSQL itself, or "
    "to a pool in session mode."
)

Pools = Callable[[str], AbstractContextManager[None]]

both = pytest.mark.parametrize("pool", [pooled, behind_pgbouncer])


def refusal() -> str:
    with pytest.raises(DryRunRefused) as refused:
        rehearse(migration(runs("SELECT 1")))
    return str(refused.value)


@both
def test_shared_sessions_are_refused(pool: Pools) -> None:
    with pool("transaction"):
        assert refusal() == SHARED


def test_so_they_are_where_a_statement_is_a_transaction() -> None:
    with behind_pgbouncer("statement"):
        assert refusal() == SHARED


@both
def test_sessions_of_its_own_are_fine(pool: Pools) -> None:
    with pool("session"):
        connection.ensure_connection()
        session = Session(connection.connection)
        assert second_connection.backend_pid(session) != connection.connection.info.backend_pid
        report = rehearse(migration(runs("UPDATE dry_row SET number = 1")))

    assert report.outcome == "passed"
    assert report.migrations[0].rows_affected == 1000


@both
@pytest.mark.parametrize(
    "busy",
    [
        pytest.param(executes(f"SELECT pg_sleep({HELD_FOR_S})"), id="a long statement"),
        pytest.param(python(lambda: time.sleep(HELD_FOR_S / 2)), id="Python"),
    ],
)
def test_the_watchdog_finds_its_session_behind_a_pool(pool: Pools, busy: object) -> None:
    with pool("session"), victim() as other:
        report = rehearse(migration(LOCK, busy))  # type: ignore[arg-type]

    assert report.outcome == "yielded"
    assert other.stall_s < HELD_FOR_S / 4
    assert [waiter.application for waiter in report.yielded_to] == ["victim"]


def test_no_second_connection_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_confiture.migrate.sessions.second_connection.PATIENCE", 1)
    with pooled("session", answers=1):
        assert refusal() == (
            "The connection to 'default' goes through a pool, and a second one, to see whether its "
            "sessions are shared, failed (no answer within 1 s); connect to PostgreSQL itself."
        )


def test_the_watchdog_is_refused_where_no_server_answers_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("django_confiture.migrate.sessions.second_connection.PATIENCE", 1)
    with pooled("session", answers=2), pytest.raises(DryRunRefused) as refused:
        rehearse(migration(runs("SELECT 1")))

    assert "got no connection (no answer within 1 s); free one, or pass --no-watchdog" in str(
        refused.value
    )


def test_an_open_transaction_has_its_session() -> None:
    """The caller's transaction: no other client gets its session before it ends."""
    with pooled("transaction"):
        connection.ensure_connection()
        connection.connection.execute("BEGIN")
        second_connection.refuse_shared_sessions(connection, Session(connection.connection))
        connection.connection.execute("ROLLBACK")


def test_an_error_of_the_server_is_told() -> None:
    with plain_connection() as other:
        other.execute("CREATE ROLE dry_none NOLOGIN")
        before = connection.settings_dict
        connection.settings_dict = {**before, "USER": "dry_none"}
        try:
            with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
                second_connection.connect_beside(connection, "test")
        finally:
            connection.settings_dict = before
            other.execute("DROP ROLE dry_none")
