"""Django's aliases of a database, pointed at its clone for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import DatabaseError, connections

from django_confiture.dry_run.server.driver import psycopg_connection
from django_confiture.dry_run.server.identity import database_identity
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.exceptions import DryRunRefused
from django_confiture.formatting import one_line

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

APPLICATION_NAME = "django-confiture clone"

_ADDRESS = ("HOST", "PORT", "USER", "PASSWORD")


def parameters(wrapper: BaseDatabaseWrapper, **other: object) -> dict[str, Any]:
    """Return the driver's parameters of an alias, with some exchanged."""
    known: dict[str, Any] = wrapper.get_connection_params()
    return {**known, "autocommit": True, **other}


def aliases_of(wrapper: BaseDatabaseWrapper, *, ask: bool) -> list[BaseDatabaseWrapper]:
    """Return all of Django's connections to the database of one of them, that one first.

    Another address may lead to the same database, so where the name is the same, and ``ask``
    allows it, the server is asked.
    """
    found = [wrapper]
    identity: str | None = None
    for alias in connections:
        other = connections[alias]
        if (
            other is wrapper
            or other.vendor != "postgresql"
            or _database_name(other) != _database_name(wrapper)
        ):
            continue
        same = _address(other) == _address(wrapper)
        if not same and ask:
            identity = identity or _identity(wrapper)
            same = identity is not None and _identity(other) == identity
        if same:
            found.append(other)
    return found


def _database_name(wrapper: BaseDatabaseWrapper) -> object:
    known: dict[str, Any] = wrapper.get_connection_params()
    return known.get("dbname"), known.get("service")


def _address(wrapper: BaseDatabaseWrapper) -> tuple[object, ...]:
    known: dict[str, Any] = wrapper.get_connection_params()
    return tuple(known.get(key) or None for key in ("host", "hostaddr", "port", "service"))


def _identity(wrapper: BaseDatabaseWrapper) -> str | None:
    """Return what no other database has; None where it can't be reached."""
    try:
        params = parameters(wrapper, application_name=APPLICATION_NAME)
        with closing(psycopg.connect(**params)) as conn:
            return database_identity(Session(conn))
    except psycopg.Error:
        return None


def close(wrapper: BaseDatabaseWrapper) -> int | None:
    """Close a connection and Django's pool that it comes from; return its server process."""
    raw = psycopg_connection(wrapper.connection) if wrapper.connection is not None else None
    pid = raw.info.backend_pid if raw is not None and not raw.closed else None
    wrapper.close()
    if hasattr(wrapper, "close_pool"):
        wrapper.close_pool()
    if raw is not None and not raw.closed:
        raise DryRunRefused(
            f"When Django closes the connection to {wrapper.alias!r}, a pool keeps it open "
            f"({type(wrapper).__module__}), so its database can't be copied; run --clone with an "
            "ENGINE that has no pool of its own."
        )
    return pid


@contextmanager
def pointed(
    aliases: list[BaseDatabaseWrapper], source: BaseDatabaseWrapper, name: str
) -> Iterator[None]:
    """Point aliases at the database ``name`` on the server of ``source``; at the end back."""
    with ExitStack() as stack:
        for wrapper in aliases:
            stack.callback(_restored, wrapper, dict(wrapper.settings_dict))
            options = dict(source.settings_dict["OPTIONS"])
            options.pop("dbname", None)
            if wrapper is source or _address(wrapper) == _address(source):
                options = dict(wrapper.settings_dict["OPTIONS"])
                options.pop("dbname", None)
            else:
                wrapper.settings_dict.update({key: source.settings_dict[key] for key in _ADDRESS})
            wrapper.settings_dict.update({"NAME": name, "OPTIONS": options})
        for wrapper in aliases:
            _check(wrapper, name)
        yield


def _check(wrapper: BaseDatabaseWrapper, name: str) -> None:
    """Make sure that an alias leads to the clone before anything is written through it."""
    try:
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            (reached,) = cursor.fetchone()
    except (DatabaseError, psycopg.Error) as error:
        raise DryRunRefused(
            f"The alias {wrapper.alias!r} does not reach the clone: {one_line(error)}"
        ) from error
    if reached != name:
        raise DryRunRefused(
            f"The alias {wrapper.alias!r} reaches {reached} instead of the clone {name}, so "
            "nothing was run; a connection pooler in between has to be left out."
        )


def _restored(wrapper: BaseDatabaseWrapper, before: dict[str, Any]) -> None:
    with suppress(DatabaseError, psycopg.Error):
        close(wrapper)
    wrapper.settings_dict.clear()
    wrapper.settings_dict.update(before)
