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
from collections.abc import Callable, Collection
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
_SETTINGS = ("statement_timeout = 0", "idle_session_timeout = 0")
_ENDED_IT = "CF001"

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
        PERFORM pg_catalog.pg_terminate_backend(%(pid)s);
        RAISE EXCEPTION '%%', json_build_array(late, doing) USING ERRCODE = '{_ENDED_IT}';
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
        self.pid = backend_pid(Direct(connection))
        for setting in _SETTINGS:
            connection.execute(f"SET {setting}")
        end_with_client(connection)
        values = {"pid": pid, "watch": watch, "limit": limit_ms, "own": list(own_pids)}
        rules = {"look": _LOOK_S, "silent": SILENT_S, "idle_alone": idle_alone}
        text = psycopg.ClientCursor(connection).mogrify(_LOOP, {**values, **rules})
        connection.pgconn.send_query(text.encode())

    def end(self) -> GaveWay | None:
        """End the block; return why it has ended the session, if it has."""
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            if pgconn.is_busy():
                pgconn.get_cancel().cancel()
                return None
            result = pgconn.get_result()
        except psycopg.Error:
            return None
        finally:
            self._connection.close()
        if result is None or result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) is None:
            return None
        return _gave_way(result)


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
    except psycopg.Error as error:
        if connection is not None:
            connection.close()
        return f"no third connection ({one_line(error)})"


def _gave_way(result: psycopg.pq.abc.PGresult) -> GaveWay | None:
    field = psycopg.pq.DiagnosticField
    if result.error_field(field.SQLSTATE) != _ENDED_IT.encode():
        return None
    late, doing = json.loads(result.error_field(field.MESSAGE_PRIMARY) or b"")
    if doing is None:
        return None
    return GaveWay(
        tuple(Waiter(*each.values()) for each in late), Doing(*doing.values()), was_stopped=True
    )
