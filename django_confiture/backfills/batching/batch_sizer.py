"""How many rows the next batch gets: a pure function, apart from persistence."""

from __future__ import annotations

from dataclasses import dataclass, replace

WEIGHT = 0.3
"""The newest batch's share in the smoothed time per row."""
GROWTH = 2
"""The next batch has at most this many times the rows of the last one."""
STILL_GROWING = 0.7
"""The size keeps doubling while it is below this share of the wanted size."""
OVERRUN = 1.5
"""After a batch that took this many times its target, the size shrinks at once."""


@dataclass(frozen=True)
class BatchSizer:
    """The next batch's size, and what it follows from."""

    target: float
    """Seconds that a batch should take."""
    minimum: int
    maximum: int
    size: int
    """Rows of the next batch."""
    seconds_per_row: float | None = None
    """Smoothed; None before the first batch."""

    def after_batch(self, *, rows: int, seconds: float) -> BatchSizer:
        """Return the sizer after a batch of ``rows`` that took ``seconds``.

        A batch of fewer rows than were asked for, at the end of a range, says nothing about
        larger ones unless it took too long.
        """
        overran = seconds > OVERRUN * self.target
        if rows < 1 or (rows < self.size and not overran):
            return self
        newest = seconds / rows
        if self.seconds_per_row is None or overran or self._is_growing:
            smoothed = newest
        else:
            smoothed = WEIGHT * newest + (1 - WEIGHT) * self.seconds_per_row
        wanted = self.target / smoothed if smoothed > 0 else float(self.maximum)
        size = self._bounded(min(wanted, GROWTH * rows))
        return replace(self, size=size, seconds_per_row=smoothed)

    @property
    def _is_growing(self) -> bool:
        """Whether the size is still far below the wanted one; smaller batches cost more per row."""
        assert self.seconds_per_row is not None
        return self.size < STILL_GROWING * self.target / max(self.seconds_per_row, 1e-9)

    def after_timeout(self) -> BatchSizer:
        """Return the sizer after a lock or statement timeout: half the rows."""
        return replace(self, size=self._bounded(self.size / 2))

    def _bounded(self, rows: float) -> int:
        return max(self.minimum, min(self.maximum, int(rows)))
