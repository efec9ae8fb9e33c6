"""For how long a migration blocks a table, in the figures that a report states."""

from __future__ import annotations

from dataclasses import dataclass

from django_confiture.dry_run.results.forecasts import Range
from django_confiture.dry_run.results.migrations import TableResult

_TOGETHER = 0.9
"""If reads are blocked for this share of the time that writes are, one figure is enough."""


@dataclass(frozen=True)
class Blocking:
    """Milliseconds for which reads and writes of a table have to wait; 0 if they don't."""

    reads_ms: float
    writes_ms: float
    forecast: bool
    """Whether these are the expected durations in production, not those measured here."""

    @property
    def together(self) -> bool:
        """Whether reads and writes are blocked for about the same time."""
        return self.reads_ms > 0 and self.reads_ms >= _TOGETHER * self.writes_ms

    @property
    def what(self) -> str:
        """Return what has to wait for ``writes_ms``."""
        return "reads and writes" if self.together else "writes"


def blocking_of(table: TableResult) -> Blocking:
    """Return the forecast for production if there is one, else what was measured here."""
    production = table.production
    if production is None:
        return Blocking(table.reads_blocked_ms, table.writes_blocked_ms, forecast=False)
    return Blocking(
        _expected_ms(production.reads_blocked),
        _expected_ms(production.writes_blocked),
        forecast=True,
    )


def _expected_ms(found: Range | None) -> float:
    return found.expected_ms if found is not None else 0.0
