"""A stopwatch for the migration's own time, without the work that the dry run adds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
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

    def stopped(self) -> AbstractContextManager[None]:
        """Hold the stopwatch still inside the block."""
        return _Turn(self._stop, self._go_on)

    def running(self) -> AbstractContextManager[None]:
        """Let the stopwatch run inside the block: this is the migration's own work."""
        return _Turn(self._go_on, self._stop)

    def _stop(self) -> bool:
        """Return whether it ran."""
        if self._stopped_at is not None:
            return False
        self._stopped_at = perf_counter()
        return True

    def _go_on(self) -> bool:
        """Return whether it stood still."""
        if self._stopped_at is None:
            return False
        self._left_out += perf_counter() - self._stopped_at
        self._stopped_at = None
        return True


class _Turn(AbstractContextManager[None]):
    """What is turned around for a block; several for each statement, so it is no generator."""

    __slots__ = ("_back", "_turn", "_turned")

    def __init__(self, turn: Callable[[], bool], back: Callable[[], bool]) -> None:
        self._turn, self._back, self._turned = turn, back, False

    def __enter__(self) -> None:
        self._turned = self._turn()

    def __exit__(self, *_error: object) -> None:
        if self._turned:
            self._back()
