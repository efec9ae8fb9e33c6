"""Connections beside the migrations leave no name on sessions that a pool gives to others."""

from __future__ import annotations

from contextlib import closing

import pytest
from django.db import connection

from django_confiture.migrate.sessions import second_connection
from django_confiture.migrate.sessions.second_connection import connect_beside
from django_confiture.migrate.turns.one_at_a_time import take_turn
from tests.support.dry_run import plain_connection
from tests.support.pools import behind_pgbouncer

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = """
    SELECT application_name FROM pg_stat_activity
    WHERE datname = current_database() AND application_name ~ '^django-confiture'
"""


def names() -> list[str]:
    with plain_connection() as plain:
        return [name for (name,) in plain.execute(NAMES).fetchall()]


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_connection_beside_leaves_no_name(mode: str) -> None:
    with behind_pgbouncer(mode):
        with closing(connect_beside(connection, "django-confiture watch")) as first:
            first.execute("BEGIN")
            with closing(connect_beside(connection, "django-confiture watch")) as second:
                second.execute("SELECT 1")
            first.execute("COMMIT")
        assert names() == []


def test_a_turn_has_a_name_for_as_long_as_it_lasts() -> None:
    with behind_pgbouncer("transaction"):
        turn = take_turn(connection, lambda _blocker, _seconds: None)
        during = names()
        turn.end()
        assert len(during) == 1
        assert names() == []


def test_a_site_keeps_its_own_name() -> None:
    with behind_pgbouncer("transaction"):
        options = connection.settings_dict["OPTIONS"]
        connection.settings_dict["OPTIONS"] = {**options, "application_name": "shop"}
        with closing(connect_beside(connection, "django-confiture watch")) as beside:
            assert beside.execute("SHOW application_name").fetchone() == ("shop",)


def test_a_server_without_a_pool_shows_the_name() -> None:
    with closing(connect_beside(connection, "django-confiture watch")):
        assert names() == ["django-confiture watch"]


def test_a_connection_whose_server_is_interrupted_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_args: object, **_named: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(second_connection, "answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        connect_beside(connection, "django-confiture watch")
    monkeypatch.undo()

    with plain_connection() as plain:
        plain.execute("SELECT pg_sleep(0.1)")  # until the server has noticed
    assert names() == []
