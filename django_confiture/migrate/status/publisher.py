"""Publishes the attempt that runs for other shells: one that takes a moment costs nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic

import psycopg

from django_confiture.migrate.status.published import Beacon

_LOOK_EVERY_S = 0.1
"""An attempt that is over sooner is published only in place of one that was."""


@dataclass(frozen=True)
class _Attempt:
    beacon: Beacon
    began: float


class Publisher:
    """Publishes from its own thread, so that no migration waits for it."""

    def __init__(self, publish: Callable[[str], object]) -> None:
        self._publish = publish
        self._current: _Attempt | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, beacon: Beacon) -> None:
        """Publish what runs from now on, if it is not over at once."""
        self._current = _Attempt(beacon, monotonic())
        if self._thread is None:
            name = "confiture-publisher"
            self._thread = threading.Thread(target=self._publish_attempts, name=name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; a second call changes nothing."""
        self._over.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _publish_attempts(self) -> None:
        published: _Attempt | None = None
        while not self._over.wait(_LOOK_EVERY_S):
            attempt = self._current
            if attempt is None or attempt is published:
                continue
            so_far = monotonic() - attempt.began
            if published is not None or so_far >= _LOOK_EVERY_S:
                published = attempt
                beacon = replace(attempt.beacon, ran_ms=round(so_far * 1000))
                with suppress(psycopg.Error):  # it does not matter if that fails
                    self._publish(beacon.as_text())
