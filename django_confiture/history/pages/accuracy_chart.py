"""The page that compares forecasts with real runs: a logarithmic chart, and a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from django.db import router

from django_confiture.formatting import duration
from django_confiture.history.accuracy import Comparison, accuracies
from django_confiture.history.models import Forecast, MigrationExecution
from django_confiture.history.stored_forecasts import observed_runs

MOST = 40
"""The most runs that are drawn; the newest ones."""

_SHORTEST_MS = 0.1
_ROW, _AXIS, _LABEL, _BAR = 48, 28, 18, 34
"""Pixels: the height of a run and of the axis, and where a run's label and bar are."""
_LEFT, _RIGHT = 4.0, 96.0
"""Marks are between these percentages of the width."""
_MOST_TICKS = 5


@dataclass(frozen=True)
class Tick:
    """One line of the scale."""

    x: str
    text: str


@dataclass(frozen=True)
class Drawn:
    """One run: its place in the chart, and its row of the table. Positions are percentages."""

    run: MigrationExecution
    comparison: Comparison
    y_label: int
    y_bar: int
    low: str
    expected: str
    high: str
    actual: str

    @property
    def texts(self) -> dict[str, str]:
        """Return the durations in words."""
        found = self.comparison
        return {
            name: duration(getattr(found, f"{name}_ms"))
            for name in ("low", "expected", "high", "actual")
        }

    @property
    def held(self) -> str:
        """Return on which side of the range it was."""
        if self.comparison.inside:
            return "in range"
        return "above" if self.comparison.actual_ms > self.comparison.high_ms else "below"


def context_of(alias: str | None) -> dict[str, Any]:
    """Return the template's context for a database; by default the first one with forecasts."""
    aliases = _aliases()
    chosen = alias or (aliases[0] if aliases else "default")
    runs = observed_runs(chosen)
    shown = runs[: -MOST - 1 : -1]
    scale = Scale.of(comparison for _, comparison in shown)
    accuracy = next(iter(accuracies(comparison for _, comparison in runs)), None)
    height = len(shown) * _ROW
    return {
        "aliases": aliases,
        "database": chosen,
        "count": len(runs),
        "accuracy": accuracy,
        "drawn": [_drawn(scale, *pair, place) for place, pair in enumerate(shown)],
        "ticks": scale.ticks if shown else [],
        "chart": {"height": height + _AXIS, "bottom": height, "axis": height + _LABEL},
    }


@dataclass(frozen=True)
class Scale:
    """A scale of powers of ten of milliseconds that covers all durations."""

    first: int
    last: int

    @classmethod
    def of(cls, comparisons: Iterable[Comparison]) -> Scale:
        """Return the smallest scale that covers all comparisons."""
        figures = [
            max(figure, _SHORTEST_MS)
            for each in comparisons
            for figure in (each.low_ms, each.expected_ms, each.high_ms, each.actual_ms)
        ] or [1.0]
        first = floor(log10(min(figures)))
        return cls(first, max(ceil(log10(max(figures))), first + 1))

    def x(self, ms: float) -> str:
        """Return the position of a duration."""
        part = (log10(max(ms, _SHORTEST_MS)) - self.first) / (self.last - self.first)
        return f"{_LEFT + part * (_RIGHT - _LEFT):.2f}%"

    @property
    def ticks(self) -> Sequence[Tick]:
        """Return the lines, few enough for a phone's screen."""
        step = ceil((self.last - self.first) / _MOST_TICKS)
        powers = range(self.first, self.last + 1, step)
        return [Tick(self.x(10.0**each), duration(10.0**each)) for each in powers]


def _drawn(scale: Scale, run: MigrationExecution, found: Comparison, place: int) -> Drawn:
    top = place * _ROW
    return Drawn(
        run,
        found,
        top + _LABEL,
        top + _BAR,
        scale.x(found.low_ms),
        scale.x(found.expected_ms),
        scale.x(found.high_ms),
        scale.x(found.actual_ms),
    )


def _aliases() -> list[str]:
    rows = Forecast.objects.using(router.db_for_read(Forecast)).order_by("database")
    return list(rows.values_list("database", flat=True).distinct())
