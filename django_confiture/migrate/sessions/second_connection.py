"""A second connection to the database that is migrated, and what stands between it and the server.

A pool invents the key that clients cancel with, so the process in that key is not the one that
answers: that tells us that there is a pool. Its sessions are shared if another client can get ours
while we have no transaction open.
"""

from __future__ import annotations

import selectors
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

PATIENCE = 5
"""Seconds until a server that does not answer counts as none: a pool lets clients wait."""

_KEEPALIVE_S = 60
"""Firewalls and proxies drop connections that are silent for minutes, as one with a lock is."""
_ROUNDS = 5

_PID = "SELECT pg_catalog.pg_backend_pid()"
_TAKE_NAME_BACK = sql.SQL(
    "SELECT pg_catalog.set_config('application_name', {usual}, false)"
    " WHERE pg_catalog.pg_backend_pid() <> {pid}"
)
"""In one statement: the next one may be in another session."""


class Queries(Protocol):
    """Runs one statement on one connection."""

    def query(self, text: str, /) -> Sequence[Sequence[Any]]:
        """Return the rows of a query, none for a command."""


@dataclass(frozen=True)
class Direct:
    """The queries of a psycopg connection, as the driver sends them."""

    raw: psycopg.Connection[Any]

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query, none for a command."""
        cursor = self.raw.execute(text)
        return cursor.fetchall() if cursor.description else []


def connect_beside(
    wrapper: BaseDatabaseWrapper, application_name: str, *, patience: int | None = None
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open another connection, as Django would, and check that a server answers on it.

    A pool would leave ``application_name`` on sessions that it gives to others, so it is taken back
    there. ``patience`` is the number of seconds to wait for it, :data:`PATIENCE` unless given.
    """
    patience = PATIENCE if patience is None else patience
    params: dict[str, Any] = {
        "connect_timeout": patience,
        "keepalives_idle": _KEEPALIVE_S,
        **wrapper.get_connection_params(),
    }
    usual = params.get("application_name", "")
    params |= {"autocommit": True, "application_name": application_name}
    found: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(**params)
    try:
        query = _TAKE_NAME_BACK.format(usual=sql.Literal(usual), pid=found.info.backend_pid)
        if not answers(found, patience=patience, query=query.as_string(found)):
            raise psycopg.OperationalError(f"no answer within {patience} s")
    except BaseException:
        found.close()
        raise
    return found


def answers(connection: psycopg.Connection[Any], *, patience: int, query: str = _PID) -> bool:
    """Return whether a server answers in so many seconds; raise the error it answers with."""
    pgconn = connection.pgconn
    pgconn.send_query(query.encode())
    until = monotonic() + patience
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


def backend_pid(session: Queries) -> int:
    """Return the server process as the server knows it: behind a pool, the driver does not."""
    return int(session.query(_PID)[0][0])


def is_pooled(raw: psycopg.Connection[Any], session: Queries) -> bool:
    """Return whether a pool stands between the driver and the server that answers."""
    return raw.info.backend_pid != backend_pid(session)


def shares_sessions(wrapper: BaseDatabaseWrapper, session: Queries) -> bool:
    """Return whether a pool gives each transaction of ours whatever session is free.

    Raises the driver's error where no second connection can be had to find out. An open
    transaction keeps its session, so nothing is asked there.
    """
    raw = wrapper.connection
    if raw.info.transaction_status != TransactionStatus.IDLE or not is_pooled(raw, session):
        return False
    with _another(wrapper) as other:
        return are_swapped(session, other)


def are_swapped(session: Queries, other: Queries) -> bool:
    """Return whether a pool hands the sessions of two connections to either of them."""
    return any(_swapped(session, other) for _round in range(_ROUNDS))


@contextmanager
def _another(wrapper: BaseDatabaseWrapper) -> Iterator[Queries]:
    connection = connect_beside(wrapper, "django-confiture")
    try:
        yield Direct(connection)
    finally:
        with suppress(psycopg.Error):
            connection.close()


def _swapped(session: Queries, other: Queries) -> bool:
    """Return whether one of the two got the other's session, while the other one was idle.

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
