"""A second connection to the database of a dry run, and what stands between it and the server."""

from __future__ import annotations

import selectors
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.server.side_channel import Session
from django_confiture.exceptions import DryRunRefused

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

PATIENCE = 5
"""Seconds until a server that does not answer counts as none: a pool lets clients wait."""

_ROUNDS = 5

_PID = "SELECT pg_catalog.pg_backend_pid()"


def connect_beside(
    wrapper: BaseDatabaseWrapper, application_name: str
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open another connection, as Django would, and see that a server answers on it."""
    params: dict[str, Any] = {"connect_timeout": PATIENCE, **wrapper.get_connection_params()}
    params |= {"autocommit": True, "application_name": application_name}
    found: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(**params)
    if not _answers(found):
        found.close()
        raise psycopg.OperationalError(f"no answer within {PATIENCE} s")
    return found


def _answers(connection: psycopg.Connection[Any]) -> bool:
    pgconn = connection.pgconn
    pgconn.send_query(_PID.encode())
    until = monotonic() + PATIENCE
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, selectors.EVENT_READ)
        while True:
            while pgconn.is_busy():  # or get_result() would wait without a limit
                if not selector.select(max(0, until - monotonic())):
                    return False
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                return True
            if result.error_message:
                said = result.error_message.decode("utf-8", "replace").strip()
                raise psycopg.OperationalError(said)


def backend_pid(session: Session) -> int:
    """Return the server process as the server knows it: behind a pool, the driver does not."""
    return int(session.value(_PID))


def refuse_shared_sessions(wrapper: BaseDatabaseWrapper, session: Session) -> None:
    """Refuse a pool that gives each transaction whatever session is free.

    A pool makes up the key by which clients cancel, which has the process in it. Where that is
    not the process that answers, there is one; and its sessions are shared if another client can
    get ours while we have no transaction open.
    """
    direct = wrapper.connection.info.backend_pid == backend_pid(session)
    if direct or session.status != TransactionStatus.IDLE:
        return
    try:
        with _another(wrapper) as other:
            shared = any(_swapped(session, other) for _round in range(_ROUNDS))
    except psycopg.Error as error:
        raise DryRunRefused(
            f"The connection to {wrapper.alias!r} goes through a pool, and a second one, to see "
            f"whether its sessions are shared, failed ({' '.join(str(error).split())}); "
            "connect to PostgreSQL itself."
        ) from error
    if shared:
        raise DryRunRefused(
            f"The connection to {wrapper.alias!r} goes through a pool whose sessions are shared "
            "between clients (transaction pooling), so no session is the dry run's own; connect "
            "to PostgreSQL itself, or to a pool in session mode."
        )


@contextmanager
def _another(wrapper: BaseDatabaseWrapper) -> Iterator[Session]:
    connection = connect_beside(wrapper, "django-confiture")
    try:
        yield Session(connection)
    finally:
        with suppress(psycopg.Error):
            connection.close()


def _swapped(session: Session, other: Session) -> bool:
    """Say whether one of the two got the other's session, while the other one was idle.

    A pool hands out what was last given back, or what has waited longest; in both cases one of
    the two is ours, unless many other clients come in between.
    """
    ours = backend_pid(session)
    if backend_pid(other) == ours:
        return True
    other.query("BEGIN")
    theirs = backend_pid(other)
    again = backend_pid(session)
    other.query("ROLLBACK")
    return theirs == ours or again != ours
