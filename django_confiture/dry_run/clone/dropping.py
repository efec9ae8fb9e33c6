"""Drops a database that a run has made for itself, whatever became of the run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from time import sleep
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from django_confiture.dry_run.clone.aliases import parameters
from django_confiture.dry_run.clone.maintenance import maintenance_connection
from django_confiture.exceptions import DryRunRefused

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_ATTEMPTS, _BETWEEN_ATTEMPTS = 10, 0.5
"""How many times we try, and the seconds between two tries."""


def drop(
    name: str, conn: psycopg.Connection[Any], server: BaseDatabaseWrapper, *, beside: str
) -> Exception | None:
    """Drop a database; return why it is still there, None if it is not.

    Where ``conn`` does not do it, it is closed, and a new connection to ``server`` is tried, to
    another database than ``beside``. Ctrl-C has to wait for that.
    """
    failure: Exception | None = None
    with _uninterrupted():
        for attempt in range(_ATTEMPTS):
            if attempt > 1:
                sleep(_BETWEEN_ATTEMPTS)  # the server may be about to start again
            try:
                if attempt or conn.closed:
                    conn.close()  # it may still copy
                    with closing(maintenance_connection(server, beside)) as another:
                        _drop(name, another, server)
                else:
                    _drop(name, conn, server)
            except (psycopg.Error, DryRunRefused) as error:
                failure = error
            else:
                return None
    return failure


def _drop(name: str, conn: psycopg.Connection[Any], server: BaseDatabaseWrapper) -> None:
    """Drop it with the prepared transactions that a migration left: FORCE does not end them."""
    left = conn.execute(
        "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = %s", [name]
    ).fetchall()
    if left:
        with closing(psycopg.connect(**parameters(server, dbname=name))) as inside:
            for (gid,) in left:
                inside.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
    conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
