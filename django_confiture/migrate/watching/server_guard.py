"""Limits how long others wait for a migration whose process is stopped: from within the server.

The watch is a thread of the process that migrates. Where that gets no time, as in a paused
container, after SIGSTOP, or while an extension in C keeps Python's lock, the server keeps the
session's locks and no one looks. So a block of PL/pgSQL runs on another connection meanwhile. It
looks whether the watch still does, and if not, terminates the session once others have waited for
too long. It commits at each look, so it keeps no snapshot that VACUUM would have to wait for, and
CREATE INDEX CONCURRENTLY waits for one look at most.

Of a migration that is not atomic it ends only a transaction in which nothing runs: the server ends
a statement without its client, and with it the locks, so there is no need to strand that halfway.
"""

from __future__ import annotations

import json
import re
import selectors
from collections.abc import Callable, Collection
from contextlib import suppress
from time import monotonic
from typing import Any

import psycopg

from django_confiture.formatting import one_line
from django_confiture.migrate.sessions.dead_client import end_with_client
from django_confiture.migrate.sessions.second_connection import (
    Direct,
    are_swapped,
    backend_pid,
    is_pooled,
)
from django_confiture.migrate.watching.activity import DOING, WAITERS, Doing, GaveWay, Waiter

SILENT_S = 2.0
"""The watch counts as stopped when it has asked nothing for so long; it asks ten times a second."""
_LOOK_S = 0.2
_LAST_WORD_S = 5.0
"""Seconds for the answer to a cancel, which takes milliseconds unless the machine is overloaded."""
_SETTINGS = ("statement_timeout = 0", "idle_session_timeout = 0")
_ENDED_IT = "CF001"
_SQLSTATE = psycopg.pq.DiagnosticField.SQLSTATE
_MESSAGE = psycopg.pq.DiagnosticField.MESSAGE_PRIMARY
_ENDED_BY_OTHERS = re.compile("57|08")
"""SQLSTATEs of a session that was canceled, terminated or lost: another one can take its place."""

_LOOP = f"""
DO $confiture_guard$
DECLARE
  late json;
  doing json;
BEGIN
  LOOP
    PERFORM pg_catalog.pg_sleep(%(look)s);
    EXIT WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = %(pid)s);
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = %(watch)s
        AND state_change > clock_timestamp() - %(silent)s * interval '1 s') THEN
      SELECT json_agg(to_json(w)) FROM ({WAITERS}) AS w (pid, name, usr, waited_ms, relation)
        WHERE w.waited_ms >= %(limit)s AND (NOT %(idle_alone)s OR EXISTS (
          SELECT FROM pg_catalog.pg_stat_activity
          WHERE pid = %(pid)s AND state ~ '^idle in transaction')) INTO late;
      IF late IS NOT NULL THEN
        SELECT to_json(d) FROM ({DOING}) AS d (state, statement, ms, xact_ms, began) INTO doing;
        RAISE EXCEPTION '%%', json_build_array(
          late, doing, pg_catalog.pg_terminate_backend(%(pid)s)) USING ERRCODE = '{_ENDED_IT}';
      END IF;
    END IF;
    COMMIT;
  END LOOP;
END $confiture_guard$
"""  # noqa: S608 - made of constants; values are filled in by the driver


class ServerGuard:
    """One such block, for one session that migrates."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        *,
        pid: int,
        watch: int,
        limit_ms: float,
        own_pids: Collection[int],
        idle_alone: bool,
    ) -> None:
        """Take over ``connection``; ``watch`` is the server process that the watch asks.

        ``idle_alone``: leave the session alone while a statement runs.
        """
        self._connection = connection
        self._result: psycopg.pq.abc.PGresult | None = None
        self.pid = backend_pid(Direct(connection))
        for setting in _SETTINGS:
            connection.execute(f"SET {setting}")
        end_with_client(connection)
        values = {"pid": pid, "watch": watch, "limit": limit_ms, "own": list(own_pids)}
        rules = {"look": _LOOK_S, "silent": SILENT_S, "idle_alone": idle_alone}
        text = psycopg.ClientCursor(connection).mogrify(_LOOP, {**values, **rules})
        connection.pgconn.send_query(text.encode())

    def is_lost(self) -> bool:
        """Return whether its session was ended by others, which another guard can make good.

        Raise the driver's error where the block can't run here at all.
        """
        try:
            if self._is_running():
                return False
        except psycopg.OperationalError:
            return True
        sqlstate = self._field(_SQLSTATE)
        if sqlstate in ("", _ENDED_IT):
            return False  # the session that migrates has ended
        if _ENDED_BY_OTHERS.match(sqlstate):
            return True
        raise psycopg.ProgrammingError(self._field(_MESSAGE))

    def end(self) -> GaveWay | None:
        """End the block; return why it has ended the session, if it has.

        It may have done so an instant ago, so its last word counts.
        """
        try:
            if self._is_running():
                with suppress(psycopg.OperationalError):  # a pool has nothing to cancel any more
                    self._connection.pgconn.get_cancel().cancel()
                self._wait_until_ended()
        except psycopg.Error:
            return None
        finally:
            self._connection.close()
        return _gave_way(self._field(_MESSAGE)) if self._field(_SQLSTATE) == _ENDED_IT else None

    def _is_running(self) -> bool:
        """Look whether the server has sent how the block ended, without waiting for that."""
        if self._result is None:
            pgconn = self._connection.pgconn
            pgconn.consume_input()
            if pgconn.is_busy():
                return True
            self._result = pgconn.get_result()
        return False

    def _wait_until_ended(self) -> None:
        until = monotonic() + _LAST_WORD_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection.fileno(), selectors.EVENT_READ)
            while self._is_running() and selector.select(max(0, until - monotonic())):
                pass

    def _field(self, field: psycopg.pq.DiagnosticField) -> str:
        found = self._result.error_field(field) if self._result is not None else None
        return (found or b"").decode("utf-8", "replace")


def guarded(
    connect: Callable[[], psycopg.Connection[Any]],
    watch: psycopg.Connection[Any],
    pid: int,
    *,
    limit_ms: float,
    own_pids: Collection[int],
    idle_alone: bool,
) -> ServerGuard | str:
    """Start a guard for a session; return why there is none where none is to be had.

    A pool that shares its sessions would give that of ``watch``, by which the guard sees that it
    looks, to others.
    """
    connection = None
    try:
        connection = connect()
        if is_pooled(watch, Direct(watch)) and are_swapped(Direct(watch), Direct(connection)):
            connection.close()
            return "the pool shares its sessions between clients"
        return ServerGuard(
            connection,
            pid=pid,
            watch=backend_pid(Direct(watch)),
            limit_ms=limit_ms,
            own_pids=own_pids,
            idle_alone=idle_alone,
        )
    except Exception as error:  # noqa: BLE001 - a backend may ask elsewhere for its password
        if connection is not None:
            connection.close()
        return f"no third connection ({one_line(error)})"


def _gave_way(said: str) -> GaveWay | None:
    late, doing, _was_there = json.loads(said)
    if doing is None:
        return None
    return GaveWay(
        tuple(Waiter(*each.values()) for each in late), Doing(*doing.values()), was_stopped=True
    )
