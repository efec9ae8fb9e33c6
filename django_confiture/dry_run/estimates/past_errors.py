"""How far earlier forecasts were off; the caller of a dry run passes them in."""

from __future__ import annotations

from typing import Protocol


class PastErrors(Protocol):
    """Actual durations of one kind of work, as multiples of the durations that were forecast."""

    @property
    def median(self) -> float:
        """Return the median."""

    @property
    def low(self) -> float:
        """Return the multiple that one run in ten was below."""

    @property
    def high(self) -> float:
        """Return the multiple that one run in ten was above."""

    @property
    def count(self) -> int:
        """Return the number of runs."""
