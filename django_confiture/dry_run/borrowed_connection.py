"""The connection that a caller passes to the dry run, as one of Django's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import psycopg
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from django_confiture.dry_run.server.driver import adapted, psycopg_connection
from django_confiture.dry_run.server.identity import database_identity
from django_confiture.dry_run.server.second_connection import connect_beside
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.exceptions import DryRunRefused

APPLICATION_NAME = "django-confiture"


@contextmanager
def django_connection(conn: Any) -> Iterator[BaseDatabaseWrapper]:
    """Yield Django's connection for ``conn``: itself, its alias, or what it holds.

    A psycopg connection of the caller's own is lent to Django for a while.
    """
    if isinstance(conn, str):
        yield connections[conn]
        return
    alias = getattr(conn, "alias", None)
    if alias is not None:
        yield connections[alias]
        return
    if conn is None:
        raise DryRunRefused(
            "There is no connection, as Django has not opened it yet. Pass django.db.connection, "
            "or its alias."
        )
    raw = psycopg_connection(conn)
    for wrapper in connections.all(initialized_only=True):
        if _holds(wrapper, raw):
            yield wrapper
            return
    with _lent(raw) as wrapper:
        yield wrapper


def _holds(wrapper: BaseDatabaseWrapper, raw: psycopg.Connection[Any]) -> bool:
    if wrapper.vendor != "postgresql" or wrapper.connection is None:
        return False
    return psycopg_connection(wrapper.connection) is raw


@contextmanager
def _lent(conn: psycopg.Connection[Any]) -> Iterator[BaseDatabaseWrapper]:
    """Put a connection of the caller's own under the alias of its database for a while."""
    alias = _alias_of(conn)
    original = connections[alias]
    lent = connections.create_connection(alias)
    lent.connection = conn
    lent.autocommit = True
    connections[alias] = lent
    try:
        with _as_django_sets_up(conn, lent):
            yield lent
    finally:
        lent.connection = None
        connections[alias] = original


@contextmanager
def _as_django_sets_up(conn: psycopg.Connection[Any], lent: Any) -> Iterator[None]:
    """Give a connection the rows, types and time zone that Django counts on, for a while."""
    session = Session(conn)
    if session.status == TransactionStatus.INERROR:
        yield  # which is refused in a moment
        return
    params = lent.get_connection_params()
    wanted = {
        "row_factory": tuple_row,
        "cursor_factory": params["cursor_factory"],
        "prepare_threshold": params["prepare_threshold"],
    }
    with ExitStack() as stack:
        stack.enter_context(adapted(conn, params["context"]))
        time_zone = session.value("SHOW TimeZone")
        stack.callback(_set_time_zone, session, time_zone)
        for name, value in wanted.items():
            stack.callback(setattr, conn, name, getattr(conn, name))
            setattr(conn, name, value)
        session.query("SELECT set_config('TimeZone', $1, false)", [lent.timezone_name])
        yield


def _set_time_zone(session: Session, name: str) -> None:
    with suppress(psycopg.Error):
        session.query("SELECT set_config('TimeZone', $1, false)", [name])


def _alias_of(conn: psycopg.Connection[Any]) -> str:
    """Return the alias of the very database: one on another server may have the same name."""
    name = conn.info.dbname
    named = [
        wrapper
        for wrapper in connections.all()
        if wrapper.vendor == "postgresql" and wrapper.settings_dict["NAME"] == name
    ]
    session = Session(conn)
    if session.status == TransactionStatus.INERROR and named:
        return named[0].alias  # which is refused in a moment
    identity = database_identity(session)
    for wrapper in named:
        if _identity_of(wrapper) == identity:
            return wrapper.alias
    elsewhere = ", ".join(repr(wrapper.alias) for wrapper in named)
    raise DryRunRefused(
        f"The connection is to the database {name!r}, which no alias in settings.DATABASES names"
        + (f" on this server ({elsewhere} is on another one)" if elsewhere else "")
        + "; pass one of Django's connections or its alias."
    )


def _identity_of(wrapper: BaseDatabaseWrapper) -> str | None:
    """Return the identity of an alias's database; None where it can't be reached."""
    try:
        with closing(connect_beside(wrapper, APPLICATION_NAME)) as conn:
            return database_identity(Session(conn))
    except (psycopg.Error, Error):
        return None
