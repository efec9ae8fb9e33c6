"""One ``migrate`` of a database at a time: an advisory lock on its own connection.

The lock outlives the session that migrates, and ends with the process, even after ``kill -9``. A
statement that waits for an advisory lock would keep a snapshot, for which ``CREATE INDEX
CONCURRENTLY`` waits in turn; so we poll for the lock instead.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from django_confiture.exceptions import MigrateRefused
from django_confiture.migrate.sessions import second_connection
from django_confiture.migrate.sessions.second_connection import (
    Direct,
    answers,
    backend_pid,
    connect_beside,
    is_pooled,
)
from django_confiture.migrate.watching.activity import Blocker
from django_confiture.postgres import POSTGRESQL_17

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

NAME = "django-confiture migrate"
"""Prefix of the application name of every ``migrate`` that holds the lock or waits for it."""
CLASS = 1_668_247_142
"""The first half of the lock's key; the second is made of the schema."""

WAITS = "/* waits for its turn */"
"""What a session says in its last query that waits; a pool gives others a session with its name."""

_POLL_S = 0.2
_PATIENCE_TO_PUBLISH = 1
"""Seconds until ``migrate`` goes on though no other shell can see it."""
_UNLOCK = "SELECT pg_catalog.pg_advisory_unlock_all()"

_HOLDER = """
SELECT l.pid, coalesce(a.application_name, ''), coalesce(a.usename::text, ''), a.state,
       extract(epoch FROM clock_timestamp() - a.query_start)::float8 * 1000,
       extract(epoch FROM clock_timestamp() - a.backend_start)::float8 * 1000
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s AND l.objsubid = 2
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
"""

_ours: set[int] = set()
"""The server processes that hold a lock on behalf of this process."""


@dataclass(frozen=True)
class Turn:
    """The right to migrate, as long as its connection is open."""

    raw: psycopg.Connection[Any]
    pid: int
    is_pooled: bool
    waited_s: float
    holds_lock: bool = True
    """False where this process has it already, for the ``migrate`` that called this one, and
    where ``ONE_AT_A_TIME`` is off."""

    def publish(self, text: str) -> None:
        """Let other sessions read ``text``, as the query that this one ran last."""
        self.raw.execute(f"SELECT 1 /* {text.replace('*/', '')} */".encode())

    def is_lost(self) -> bool:
        """Return whether the session with the lock has ended; while it says nothing, it has not."""
        if not self.holds_lock:
            return False
        if not self.raw.closed:
            with selectors.DefaultSelector() as selector:
                selector.register(self.raw.fileno(), selectors.EVENT_READ)
                if not selector.select(0):
                    return False
            with suppress(psycopg.Error):
                self.raw.execute("SELECT 1")
                return False
        return True

    def end(self) -> None:
        """Release the lock, so that the next ``migrate`` begins; a second call changes nothing."""
        _ours.discard(self.pid)
        with suppress(psycopg.Error):
            if not self.raw.closed:
                release = "ROLLBACK" if self.is_pooled else _UNLOCK
                self.raw.execute(release)  # closing alone would release it some time later
            self.raw.close()


def take_turn(wrapper: BaseDatabaseWrapper, waiting: Callable[[Blocker, float], None]) -> Turn:
    """Wait until no other ``migrate`` of the database runs, and return the right to.

    ``waiting`` is called about every :data:`_POLL_S` seconds with who is in the way and for how
    many seconds it has been. Raises the driver's error where no connection is to be had.
    """
    key = (CLASS, zlib.crc32(_schema(wrapper).encode()) & 0x7FFFFFFF)
    raw = connect_beside(wrapper, application_name())
    try:
        turn = _wait_for_turn(raw, key, waiting)
        if turn.is_pooled:
            _check_room_in_pool(wrapper)
    except BaseException:
        raw.close()
        raise
    return turn


def without_lock(wrapper: BaseDatabaseWrapper) -> Turn | None:
    """Return what takes no lock, and only lets other shells see this ``migrate``.

    None where there is no connection for it, or a pool that would show it as anyone's.
    """
    try:
        raw = connect_beside(wrapper, application_name(), patience=_PATIENCE_TO_PUBLISH)
    except psycopg.Error:
        return None
    if is_pooled(raw, Direct(raw)):
        raw.close()
        return None
    raw.execute("SET idle_session_timeout = 0")
    return Turn(raw, raw.info.backend_pid, is_pooled=False, waited_s=0.0, holds_lock=False)


def _wait_for_turn(
    raw: psycopg.Connection[Any], key: tuple[int, int], waiting: Callable[[Blocker, float], None]
) -> Turn:
    pooled = is_pooled(raw, Direct(raw))
    began = time.monotonic()
    while True:
        got = _try(raw, key, in_transaction=pooled)
        waited_s = time.monotonic() - began
        pid = backend_pid(Direct(raw))
        if got:
            _ours.add(pid)
            return Turn(raw, pid, pooled, waited_s)
        row = raw.execute(f"{_HOLDER}{WAITS}", key).fetchone()
        if pooled:
            raw.execute(f"ROLLBACK {WAITS}")
        if row is None:
            continue  # it has just ended
        holder = Blocker(*row)
        if holder.pid in _ours:
            return Turn(raw, pid, pooled, waited_s, holds_lock=False)
        waiting(holder, waited_s)
        time.sleep(_POLL_S)


def _try(raw: psycopg.Connection[Any], key: tuple[int, int], *, in_transaction: bool) -> bool:
    """Try to get the lock: for the session; behind a pool, for a transaction that stays open.

    Such a transaction has no snapshot and no transaction id, so it does not hold VACUUM back.
    """
    scope = ""
    if in_transaction:
        scope = "xact_"
        raw.execute("BEGIN")
        raw.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        name = application_name()  # a pool's connection has none
        raw.execute("SELECT pg_catalog.set_config('application_name', %s, true)", [name])
        if raw.info.server_version >= POSTGRESQL_17:
            raw.execute("SET LOCAL transaction_timeout = 0")
    else:
        raw.execute("SET idle_session_timeout = 0")
    row = raw.execute(f"SELECT pg_catalog.pg_try_advisory_{scope}lock(%s, %s)", key).fetchone()
    return bool(row and row[0])


def _schema(wrapper: BaseDatabaseWrapper) -> str:
    """Return the schema that is migrated: each has its own ``django_migrations``."""
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT coalesce(current_schema(), '')")
        return str(cursor.fetchone()[0])


def _check_room_in_pool(wrapper: BaseDatabaseWrapper) -> None:
    """Refuse a pool that has no second session for the migrations: they would wait forever."""
    wrapper.ensure_connection()
    if answers(wrapper.connection, patience=second_connection.PATIENCE):
        return
    raise MigrateRefused(
        f"The pool that {wrapper.alias!r} connects to has no second session to give: one holds the "
        "lock that lets one migrate run at a time, and the migrations need another. Let the pool "
        'have two, connect to PostgreSQL itself, or set CONFITURE["MIGRATE"]["ONE_AT_A_TIME"] = '
        "False."
    )


def application_name() -> str:
    """Return the application name by which another ``migrate`` names the one it waits for."""
    return f"{NAME} {socket.gethostname()[:30]}:{os.getpid()}"
