"""The time that a migration takes, without what a dry run does in between for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Clock:
    """``perf_counter`` that can be stopped."""

    def __init__(self) -> None:
        self._stopped = 0.0

    def now(self) -> float:
        """Return seconds from an unknown start."""
        return perf_counter() - self._stopped

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let what is done meanwhile take no time."""
        started = perf_counter()
        try:
            yield
        finally:
            self._stopped += perf_counter() - started
