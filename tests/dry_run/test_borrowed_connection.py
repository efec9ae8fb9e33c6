"""A psycopg connection of the caller's own finds the alias of its database, not of its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connections

from django_confiture import DryRunExecutor
from django_confiture.dry_run.borrowed_connection import django_connection
from django_confiture.exceptions import DryRunRefused
from tests.support.dry_run import migration, parameters
from tests.support.server import OwnServer, own_server

__all__ = ["own_server"]

pytestmark = pytest.mark.usefixtures("scratch")


@contextmanager
def alias_of(name: str, database: dict[str, Any]) -> Iterator[None]:
    connections.databases[name] = {**connections.databases["other"], **database}
    try:
        yield
    finally:
        connections[name].close()
        del connections[name], connections.databases[name]


def test_two_servers_have_a_database_of_the_same_name(own_server: OwnServer) -> None:
    here = {**parameters("other"), "dbname": "postgres"}
    with psycopg.connect(**here) as conn, own_server.started():
        assert connections["default"].settings_dict["NAME"] == "postgres"

        with (
            alias_of("elsewhere", {"NAME": "postgres"}),
            django_connection(conn) as wrapper,
        ):
            assert wrapper.alias == "elsewhere"

        with pytest.raises(DryRunRefused) as refused, django_connection(conn):
            raise AssertionError("not reached")

    assert str(refused.value) == (
        "The connection is to the database 'postgres', which no alias in settings.DATABASES names "
        "on this server ('default' is on another one); pass one of Django's connections or its "
        "alias."
    )


def test_a_connection_that_django_has_not_opened_yet() -> None:
    with pytest.raises(DryRunRefused, match=r"Django has not opened it yet\."):
        DryRunExecutor().run(None, migration())  # type: ignore[arg-type]


def test_a_database_of_another_kind() -> None:
    lite = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {}}
    with alias_of("lite", lite), pytest.raises(DryRunRefused) as refused:
        DryRunExecutor().run("lite", migration())
    assert str(refused.value) == (
        "The database 'lite' is SQLite; a dry run needs PostgreSQL. "
        "Choose another alias: 'default', 'other'."
    )


def test_the_time_zone_of_a_session_does_not_matter() -> None:
    with psycopg.connect(**parameters(), autocommit=True) as conn:
        conn.execute("SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'German'")

        with django_connection(conn) as wrapper:
            assert wrapper.alias == "default"


def test_an_alias_that_can_not_be_reached_is_passed_over() -> None:
    with (
        psycopg.connect(**parameters(), autocommit=True) as conn,
        alias_of("nowhere", {"NAME": parameters()["dbname"], "HOST": "/nowhere"}),
        django_connection(conn) as wrapper,
    ):
        assert wrapper.alias == "default"
