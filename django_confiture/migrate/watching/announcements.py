"""Log events and signals about what the watch sees, sent from a thread that may block."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable
from contextlib import suppress
from time import monotonic
from typing import Any

from django.db import connections

from django_confiture import signals
from django_confiture.migrate.watching.activity import Wait, Waiter
from django_confiture.migrate.watching.watch import Observation, Target

logger = logging.getLogger("django_confiture.migrate")

NOTICED_MS = 200.0
"""Waits longer than this are announced; most end sooner."""
_FIRST_REPEAT_S = 10.0
_DETAILS_S = 1.0


class Announcer:
    """Announces which sessions are in the way: at once, on each change, then ever less often."""

    def __init__(self) -> None:
        self._waits = _Reminder()
        self._blocks = _Reminder()
        self._latest: Observation | None = None
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            target=self._announce_each, name="confiture-news", daemon=True
        )
        self._thread.start()

    def observed(self, observation: Observation) -> None:
        """Keep the latest observation; it replaces one that was not announced yet."""
        with self._changed:
            self._latest = observation
            self._changed.notify()

    def stop(self) -> None:
        """Announce what is left, and stop; a second call changes nothing."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _announce_each(self) -> None:
        try:
            while (observation := self._next()) is not None:
                self._announce(observation)
        finally:
            with suppress(Exception):  # what receivers have opened in this thread
                connections.close_all()

    def _next(self) -> Observation | None:
        with self._changed:
            while self._latest is None and not self._stopped:
                self._changed.wait()
            observation, self._latest = self._latest, None
            return observation

    def _announce(self, observation: Observation) -> None:
        target, wait = observation.target, observation.wait
        if wait is not None and wait.waited_ms >= NOTICED_MS:
            blockers = tuple(each.pid for each in wait.blocked_by)
            if self._waits.is_due((target, wait.relation, wait.mode), blockers):
                say_it_waits(target, wait)
        noticed = tuple(each for each in observation.waiters if each.waited_ms >= NOTICED_MS)
        if noticed:
            relations = frozenset(each.relation for each in noticed)
            if self._blocks.is_due(target, relations):
                say_it_blocks(target, noticed)


class _Reminder:
    """Decides when something is news, and when to repeat it."""

    def __init__(self) -> None:
        self._said: tuple[Hashable, Hashable] = (None, None)
        self._changed_at = 0.0
        self._again_at = 0.0
        self._pause_s = _FIRST_REPEAT_S

    def is_due(self, what: Hashable, details: Hashable) -> bool:
        """Return whether to announce it now, and count it as announced.

        Details that keep changing are announced once a second.
        """
        now = monotonic()
        if what != self._said[0] or (
            details != self._said[1] and now >= self._changed_at + _DETAILS_S
        ):
            self._pause_s = _FIRST_REPEAT_S
        elif now < self._again_at:
            return False
        else:
            self._pause_s *= 2
        self._said = (what, details)
        self._changed_at, self._again_at = now, now + self._pause_s
        return True


def say_it_waits(target: Target, wait: Wait) -> None:
    """Log and send ``migration_waits``."""
    facts = {
        "relation": wait.relation,
        "mode": wait.mode,
        "waited_ms": round(wait.waited_ms),
        "blocked_by": [each.as_dict() for each in wait.blocked_by],
    }
    logger.warning("migration_waits", extra={**log_facts(target.migration), **facts})
    send(signals.migration_waits, target, **facts)


def say_it_blocks(target: Target, waiters: tuple[Waiter, ...]) -> None:
    """Log and send ``migration_blocks``."""
    facts = {
        "waiting": len(waiters),
        "longest_ms": round(max(each.waited_ms for each in waiters)),
        "relations": sorted({each.relation for each in waiters if each.relation}),
    }
    logger.warning("migration_blocks", extra={**log_facts(target.migration), **facts})
    send(signals.migration_blocks, target, waiters=waiters, **facts)


def log_facts(migration: Any) -> dict[str, object]:
    """Return the fields that every log event about a migration has."""
    return {"migration": migration.name, "app_label": migration.app_label}


def send(signal: Any, target: Target, **facts: object) -> None:
    """Send a signal of a migration; receivers can't stop it."""
    signal.send_robust(
        sender=signals.sender_for(target.migration.app_label),
        migration=target.migration,
        **target.facts,
        **facts,
    )
