"""What has run since the server was last asked, and is still to be asked about."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.stopwatch import Stopwatch


class _State(Enum):
    """Where the last reading was made."""

    STATEMENT = auto()
    """Before or after a statement: nothing is unread, but a boundary has to ask again."""
    BOUNDARY = auto()
    """Where a section ended: nothing was caught since, so the next one need not ask."""
    UNREAD = auto()
    """Further back: statements have run since, and are asked about together."""


class Unread:
    """Counts the statements after which the server was not asked."""

    def __init__(self, clock: Stopwatch) -> None:
        self._clock = clock
        self._state = _State.STATEMENT
        self._runs = 0
        self._since = clock.now()

    @property
    def runs(self) -> int:
        """How many there were."""
        return self._runs

    @property
    def since(self) -> float:
        """When the first of them began, by the stopwatch."""
        return self._since

    @property
    def at_boundary(self) -> bool:
        """Whether a boundary was asked about, and no statement was caught since."""
        return self._state is _State.BOUNDARY

    def add(self) -> None:
        """Count a statement after which the server is not asked."""
        if self._state is not _State.UNREAD:
            self._since = self._clock.now()
        self._state = _State.UNREAD
        self._runs += 1

    def statement_follows(self) -> None:
        """Note that a statement was caught, which is about to be sent."""
        if self._state is _State.BOUNDARY:
            self._state = _State.STATEMENT

    def read(self) -> None:
        """Note that the server was asked about everything."""
        self._state = _State.STATEMENT
        self._runs = 0

    def boundary_passed(self) -> None:
        """Note that the server was asked at a boundary."""
        self.read()
        self._state = _State.BOUNDARY
