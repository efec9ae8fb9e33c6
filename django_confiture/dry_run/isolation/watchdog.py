"""Give way to other sessions: a second connection that checks which sessions are waiting for us.

Canceling reaches a statement that runs, nothing reaches Python between two statements: there the
session is terminated, which rolls back at once and frees every lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import timedelta
from time import monotonic, perf_counter

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.isolation.expired_lock_waits import OwnWait, self_wait_warning
from django_confiture.dry_run.measuring.lock_waits import LockWaits
from django_confiture.dry_run.plan.refusals import OUT_OF_LOCKS, is_out_of_locks
from django_confiture.dry_run.results import Waiter
from django_confiture.dry_run.results.observer import IndexBuild, Observer
from django_confiture.dry_run.server.second_connection import backend_pid, connect_beside
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.exceptions import DryRunRefused, DryRunStopped, DryRunYielded
from django_confiture.formatting import one_line
from django_confiture.migrate.watching.activity import anyone_waits, what_it_waits_for

APPLICATION_NAME = "django-confiture watchdog"

_FAILED = TransactionStatus.INERROR

_PATIENCE = 0.1
"""Seconds from the cancel to the termination of a session that still blocks."""

_NOTICED_MS = 100.0
"""Waits longer than this are reported; most end sooner."""

# Waiting autovacuum workers, which have no user, give way by themselves. Sessions of this process
# don't count.
_WAITERS = """
WITH waiting AS MATERIALIZED (
  SELECT pid, min(waitstart) AS since, max(relation) AS relation FROM pg_catalog.pg_locks
  WHERE NOT granted AND pid <> %(pid)s AND waitstart IS NOT NULL AND pid <> ALL (%(own)s)
  GROUP BY pid
)
SELECT w.pid, coalesce(a.application_name, ''),
       extract(epoch FROM clock_timestamp() - w.since)::float8 * 1000,
       (SELECT c.relname FROM pg_catalog.pg_class c WHERE c.oid = w.relation),
       upper(coalesce(substring(a.query FROM '^\\s*(\\w+)'), ''))
FROM waiting w LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
WHERE w.since < clock_timestamp() - %(after)s * interval '1 ms'
  AND (a.pid IS NULL OR a.usesysid IS NOT NULL)
  AND %(pid)s = ANY (pg_catalog.pg_blocking_pids(w.pid))
"""

# A statement of ours that waits for a foreign server, which is this very server: the session that
# it has opened there began after ours, on the server's own machine.
_OPENED_BY_US = """
SELECT count(*) FROM pg_catalog.pg_stat_activity own
JOIN pg_catalog.pg_stat_activity w ON w.backend_start > own.backend_start
WHERE own.pid = %(pid)s AND own.state = 'active' AND own.wait_event_type = 'Extension'
  AND w.pid = ANY (%(waiters)s) AND (w.client_addr IS NULL
    OR w.client_addr IN (pg_catalog.inet_server_addr(), '127.0.0.1', '::1'))
"""

_INDEX_BUILD = """
SELECT phase, greatest(blocks_done, tuples_done), greatest(blocks_total, tuples_total)
FROM pg_catalog.pg_stat_progress_create_index WHERE pid = %s
"""

_WAITING_POLL_S = 0.01
"""Seconds between two looks while the dry run itself waits for a lock."""

_GLANCE_S = 0.5
"""Seconds between two readings of an index build's progress."""


class Watchdog:
    """Ends the dry run of one session once others have waited for it longer than the budget."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        *,
        yield_after: timedelta,
        own_pids: Callable[[], Collection[int]],
        observer: Observer | None = None,
    ) -> None:
        self._wrapper = wrapper
        self._pid = backend_pid(Session(wrapper.connection))
        self.after_ms = yield_after.total_seconds() * 1000
        self._poll = min(max(yield_after.total_seconds() / 4, 0.01), 0.05)
        self._own_pids = own_pids
        self._observer = observer or Observer()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="confiture-watchdog", daemon=True)
        self.waiters: tuple[Waiter, ...] = ()
        self.waits = LockWaits()
        """What the dry run itself waits for."""
        self.self_wait: OwnWait | None = None
        """The last wait of what the dry run itself has opened for the one that is watched."""
        self._was_cancelled: OwnWait | None = None
        self.lost: Exception | None = None
        self._glanced = 0.0
        self._pause = self._poll

    def start(self) -> None:
        """Connect, and watch from now on; raise ``DryRunRefused`` if that gets no connection."""
        try:
            self._conn = connect_beside(self._wrapper, APPLICATION_NAME)
        except psycopg.Error as error:
            raise DryRunRefused(
                "The watchdog, which ends the dry run when other sessions wait for it, got no "
                f"connection ({one_line(error)}); free one, or pass --no-watchdog "
                "where no one else uses the database."
            ) from error
        # Code that keeps Python's lock, or a busy machine, may keep it idle for long.
        self._conn.execute("SET idle_session_timeout = 0")
        self.pid = backend_pid(Session(self._conn))
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; a second call changes nothing."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._conn.close()

    def check(self) -> None:
        """Raise where the dry run has to end; called before each statement."""
        if self.waiters:
            raise DryRunYielded(self.waiters)
        if self._was_cancelled and Session(self._wrapper.connection).status != _FAILED:
            raise DryRunStopped(self_wait_warning(self._was_cancelled))
        if self.lost is None:
            return
        if isinstance(self.lost, psycopg.Error) and is_out_of_locks(self.lost):
            raise DryRunStopped(OUT_OF_LOCKS)
        lost = isinstance(self.lost, psycopg.Error)
        raise DryRunStopped(
            f"The watchdog {'lost its connection' if lost else 'failed'}, so the dry run stopped "
            f"rather than go on without it: {one_line(self.lost)}"
        ) from self.lost

    def _watch(self) -> None:
        try:
            while not self._stopped.wait(self._pause):
                it_waits, others_wait = anyone_waits(self._conn, self._pid)
                noticed = min(_NOTICED_MS, self.after_ms)
                waiters = self._waiting(noticed) if others_wait else ()
                self._observer.waited_for(waiters)
                if late := tuple(w for w in waiters if w.waited_ms >= self.after_ms):
                    if not self._ends_own_wait(late):
                        self._give_way(late)
                    continue
                self._pause = self._poll
                if it_waits:
                    self._look_at_own_wait()
                if others_wait:
                    self._look_at_own_threads()
                self._look_at_index()
        except Exception as error:  # noqa: BLE001 - an observer's as well: nothing watches any more
            self.lost = error

    def _waiting(self, after_ms: float) -> tuple[Waiter, ...]:
        rows = self._conn.execute(
            _WAITERS, {"pid": self._pid, "own": list(self._own_pids()), "after": after_ms}
        )
        return tuple(Waiter(*row) for row in rows)

    def _look_at_own_wait(self) -> None:
        """Note which lock the dry run itself waits for, and look more often while it does."""
        asked = perf_counter()
        wait = what_it_waits_for(self._conn, self._pid)
        if wait is not None:
            self.waits.note(wait, asked)
            self._pause = min(self._poll, _WAITING_POLL_S)

    def _look_at_own_threads(self) -> None:
        """Note where another connection of this process waits for the one that is watched."""
        for pid in self._own_pids():
            wait = what_it_waits_for(self._conn, pid)
            if wait is not None and any(each.pid == self._pid for each in wait.blocked_by):
                self.self_wait = OwnWait(wait)

    def _ends_own_wait(self, late: tuple[Waiter, ...]) -> bool:
        """Cancel a statement that waits for itself, through a foreign server; else return False.

        It would do so forever: PostgreSQL sees no deadlock there.
        """
        pids = [each.pid for each in late]
        row = self._conn.execute(_OPENED_BY_US, {"pid": self._pid, "waiters": pids}).fetchone()
        if row is None or row[0] < len(pids):
            return False
        wait = what_it_waits_for(self._conn, pids[0])
        if wait is not None:
            self.self_wait = self._was_cancelled = OwnWait(wait, on_foreign_server=True)
            self._cancelled()
        return True

    def _look_at_index(self) -> None:
        """Report how far an index build is; no other DDL shows its progress."""
        if monotonic() < self._glanced + _GLANCE_S:
            return
        self._glanced = monotonic()
        row = self._conn.execute(_INDEX_BUILD, [self._pid]).fetchone()
        self._observer.building_index(IndexBuild(*row) if row else None)

    def _give_way(self, late: tuple[Waiter, ...]) -> None:
        """Cancel what runs, or terminate the session; it may have to be done again.

        What is cancelled ends with its statement, but its locks stay until Python comes to the
        next one, where :meth:`check` ends it.
        """
        first = not self.waiters
        self.waiters = self.waiters or late
        if not self._cancelled():
            self._conn.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [self._pid])
        if first:
            self._observer.gave_way(late)

    def _cancelled(self) -> bool:
        """Cancel the statement that runs; return whether no one has to wait any more."""
        idle = self._conn.execute(
            "SELECT state LIKE 'idle%%' FROM pg_catalog.pg_stat_activity WHERE pid = %s",
            [self._pid],
        ).fetchone()
        if idle is None:
            return True
        if not idle[0]:
            self._conn.execute("SELECT pg_catalog.pg_cancel_backend(%s)", [self._pid])
            until = monotonic() + _PATIENCE
            while monotonic() < until and not self._stopped.wait(self._poll):
                if not self._waiting(0):
                    return True
        return self._stopped.is_set()
