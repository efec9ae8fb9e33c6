"""A thread with its own connection that watches who blocks the migration, and whom it blocks.

With ``MAX_BLOCKING`` it ends what has blocked others for too long. Canceling reaches a statement
that runs; nothing reaches Python between two statements, so there the session is terminated,
which rolls back at once and frees every lock.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from operator import is_not
from time import monotonic
from typing import Any, Protocol

import psycopg

from django_confiture.formatting import one_line
from django_confiture.migrate.watching import activity
from django_confiture.migrate.watching.server_guard import ServerGuard, guarded

logger = logging.getLogger("django_confiture.migrate")

LONGEST_POLL_S = 0.1
_SHORTEST_POLL_S = 0.02
_GRACE_S = 0.25
"""A migration that takes less gets no watching connection, unless a setting needs it at once."""
_PATIENCE_S = 0.1
"""Seconds from the cancel to the termination of a session that still blocks."""
_PROGRESS_S = 0.5
_RECONNECT_S = 2.0
_UNGUARDED = (
    "Should this process be stopped (SIGSTOP, a paused container), MAX_BLOCKING does not hold: %s. "
    "Set idle_in_transaction_session_timeout for the role that migrates, or let it connect to "
    "PostgreSQL itself, with three connections."
)


@dataclass(frozen=True)
class Target:
    """One attempt at one migration, as the server sees it."""

    pid: int
    attempt: int
    migration: Any
    facts: dict[str, Any] = field(hash=False)
    """What signals say of it besides: ``using``, ``direction``, ``context``."""
    since: float = field(default_factory=monotonic)
    in_transaction: bool = False
    """Whether it keeps its locks while this process does nothing."""


@dataclass(frozen=True)
class Observation:
    """What one look at the server found."""

    target: Target
    wait: activity.Wait | None
    waiters: tuple[activity.Waiter, ...]
    progress: activity.Progress | None
    doing: activity.Doing | None


class Listener(Protocol):
    """Receives what the watch sees, in the watch's thread: it must return at once."""

    def observed(self, observation: Observation) -> None:
        """Handle one observation."""


class Watch:
    """Watches one session at a time."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[Any]],
        listeners: Collection[Listener],
        *,
        own_pids: Callable[[], Collection[int]],
        connect_guard: Callable[[], psycopg.Connection[Any]] | None = None,
        max_blocking: timedelta | None = None,
        lock_timeout: timedelta | None = None,
        at_once: bool = True,
        wants_progress: bool = False,
    ) -> None:
        self._connect, self._connect_guard = connect, connect_guard or connect
        self._listeners = list(listeners)
        self._own_pids = own_pids
        self._limit_ms = None if max_blocking is None else max_blocking.total_seconds() * 1000
        self._poll_s = _poll_s(max_blocking, lock_timeout)
        self._at_once = at_once
        self._wants_progress = wants_progress
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._conn: psycopg.Connection[Any] | None = None
        self._target: Target | None = None
        self._blockers: tuple[activity.Blocker, ...] = ()
        self._gave_way: activity.GaveWay | None = None
        self._cancelled_at = 0.0
        self._progress: tuple[float, activity.Progress | None] = (0.0, None)
        self._blind_until = 0.0
        self._warned = False
        self._guard: ServerGuard | None = None
        self._guarded: tuple[Target, psycopg.Connection[Any]] | None = None
        self._unguarded = False
        self._thread = threading.Thread(target=self._watch, name="confiture-watch", daemon=True)
        self._thread.start()

    def follow(self, target: Target) -> None:
        """Watch this attempt from now on."""
        with self._lock:
            self._target, self._gave_way, self._blockers = target, None, ()

    def leave(self) -> activity.GaveWay | None:
        """Stop watching and end nothing from now on; return why the attempt was ended, if so."""
        with self._lock:
            self._target = None
            guard, self._guard = self._guard, None
            gave_way = self._gave_way
        by_server = guard.end() if guard is not None else None
        return gave_way or by_server

    def last_blockers(self) -> tuple[activity.Blocker, ...]:
        """Return the sessions last seen in the way of the last attempt."""
        with self._lock:
            return self._blockers

    def stop(self) -> None:
        """Stop for good; a second call changes nothing."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self.leave()

    def _watch(self) -> None:
        while not self._stopped.wait(self._poll_s):
            with self._lock:
                target = self._target
            if target is None or monotonic() < self._blind_until:
                continue
            if self._conn is None and not self._at_once and monotonic() < target.since + _GRACE_S:
                continue
            try:
                self._look(target)
            except Exception as error:  # noqa: BLE001 - a backend may ask elsewhere for its password
                self._lost(error)
        self._close()

    def _look(self, target: Target) -> None:
        if self._conn is None:
            self._conn = self._connect()
        conn, pid = self._conn, target.pid
        waits, others_wait = activity.anyone_waits(conn, pid)
        waiters: tuple[activity.Waiter, ...] = ()
        if others_wait:
            waiters = activity.who_waits_for_it(conn, pid, own_pids=self._own_pids())
            self._limit(target, waiters)
        guard = self._guard
        guard_pid = guard.pid if guard is not None else 0
        wait = activity.what_it_waits_for(conn, pid, guard=guard_pid) if waits else None
        if wait is not None and wait.blocked_by:
            with self._lock:
                if self._target is target:
                    self._blockers = wait.blocked_by
        progress, doing = self._glance(conn, pid)
        self._tell(Observation(target, wait, waiters, progress, doing))
        self._let_server_guard(target, conn)

    def _let_server_guard(self, target: Target, conn: psycopg.Connection[Any]) -> None:
        """Let the server keep to the limit as well, should this process be stopped.

        A guard looks at one connection of the watch, and its session can be ended by others.
        """
        if self._limit_ms is None or self._unguarded:
            return
        try:
            is_new = self._guarded is None or any(map(is_not, self._guarded, (target, conn)))
            if not is_new and not self._guard_is_lost():
                return
        except psycopg.Error as error:
            self._warn_unguarded(one_line(error))
            return
        self._guarded = (target, conn)
        found = guarded(
            self._connect_guard,
            conn,
            target.pid,
            limit_ms=self._limit_ms,
            own_pids=self._own_pids(),
            idle_alone=not target.in_transaction,
        )
        if isinstance(found, str):
            self._warn_unguarded(found)
            return
        with self._lock:
            before: ServerGuard | None = found
            if self._target is target:
                before, self._guard = self._guard, found
        if before is not None:
            before.end()

    def _guard_is_lost(self) -> bool:
        with self._lock:  # leave() ends it
            return self._guard is not None and self._guard.is_lost()

    def _warn_unguarded(self, why: str) -> None:
        self._unguarded = True
        logger.warning(_UNGUARDED, why, extra={"error": why})

    def _tell(self, observation: Observation) -> None:
        """Pass on what was seen; a listener that fails gets no more, and the watch goes on."""
        for listener in tuple(self._listeners):
            try:
                listener.observed(observation)
            except Exception:
                self._listeners.remove(listener)
                name = type(listener).__name__
                logger.exception("%s failed, and gets no more news of the migration", name)

    def _glance(
        self, conn: psycopg.Connection[Any], pid: int
    ) -> tuple[activity.Progress | None, activity.Doing | None]:
        if not self._wants_progress:
            return None, None
        seen, progress = self._progress
        if monotonic() >= seen + _PROGRESS_S:
            progress = activity.progress_of(conn, pid)
            self._progress = (monotonic(), progress)
        return progress, activity.what_it_does(conn, pid)

    def _limit(self, target: Target, waiters: tuple[activity.Waiter, ...]) -> None:
        """End the attempt once someone has waited for too long."""
        limit = self._limit_ms
        if limit is None:
            return
        late = tuple(each for each in waiters if each.waited_ms >= limit)
        if not late:
            return
        with self._lock:  # so that leave() never returns between the decision and the act
            if self._target is target:
                self._give_way(target, late)

    def _give_way(self, target: Target, late: tuple[activity.Waiter, ...]) -> None:
        assert self._conn is not None
        doing = activity.what_it_does(self._conn, target.pid)
        if doing is None:
            return
        first = self._gave_way is None
        if first:
            self._gave_way = activity.GaveWay(late, doing)
            self._cancelled_at = monotonic()
        if doing.state.startswith("idle") or monotonic() >= self._cancelled_at + _PATIENCE_S:
            self._conn.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [target.pid])
        elif first:
            self._conn.execute("SELECT pg_catalog.pg_cancel_backend(%s)", [target.pid])

    def _lost(self, error: Exception) -> None:
        """Go on without a connection, log that once, and try to connect again later."""
        self._close()
        self._blind_until = monotonic() + _RECONNECT_S
        if self._warned:
            return
        self._warned = True
        described = one_line(error)
        logger.warning(
            "The migration goes on unwatched, without MAX_BLOCKING and news of who waits: no second"
            " connection (%s)",
            described,
            extra={"error": described},
        )

    def _close(self) -> None:
        if self._conn is not None:
            with suppress(psycopg.Error):
                self._conn.close()
            self._conn = None


def _poll_s(max_blocking: timedelta | None, lock_timeout: timedelta | None) -> float:
    """Return the seconds between looks: a fifth of the shortest wait to be noticed."""
    limits = [each.total_seconds() / 5 for each in (max_blocking, lock_timeout) if each]
    return max(min([*limits, LONGEST_POLL_S]), _SHORTEST_POLL_S)
