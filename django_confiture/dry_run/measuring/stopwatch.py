"""A stopwatch for the migration's own time, without the work that the dry run adds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """``perf_counter`` that stands still while the dry run works for itself.

    Where a statement is caught it is stopped, and it runs while the statement does. So probes,
    look-ups, EXPLAIN and the parser's work are in no duration.
    """

    def __init__(self) -> None:
        self._left_out = 0.0
        self._stopped_at: float | None = None

    def now(self) -> float:
        """Return seconds from an unknown start."""
        return self.at(perf_counter() if self._stopped_at is None else self._stopped_at)

    def at(self, moment: float) -> float:
        """Return the time of a ``perf_counter`` reading made since it last began to run."""
        return moment - self._left_out

    def add(self, seconds: float) -> None:
        """Count a part of what is done while it is stopped: the migration would do it as well."""
        self._left_out -= seconds

    def leave_out(self, seconds: float) -> None:
        """Don't count a part of what was done while it ran: the wait for another session."""
        self._left_out += seconds

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Hold the stopwatch still inside the block."""
        if self._stopped_at is not None:
            yield
            return
        self._stopped_at = perf_counter()
        try:
            yield
        finally:
            self._go_on()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the stopwatch run inside the block: this is the migration's own work."""
        if self._stopped_at is None:
            yield
            return
        self._go_on()
        try:
            yield
        finally:
            self._stopped_at = perf_counter()

    def _go_on(self) -> None:
        if self._stopped_at is not None:
            self._left_out += perf_counter() - self._stopped_at
            self._stopped_at = None
