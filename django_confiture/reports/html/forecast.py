"""Forecasts for production: all ranges on one scale, with what each rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django_confiture.dry_run.results import MigrationEstimate, MigrationResult
from django_confiture.formatting import duration
from django_confiture.reports.html.scale import Tick
from django_confiture.reports.html.text import percent
from django_confiture.reports.phrases import forecast as forecast_phrases

MIGRATIONS = 40
"""The most migrations that are drawn."""

_TICKS = (1, 10, 100, 1_000, 10_000, 60_000, 600_000, 3_600_000, 36_000_000)


@dataclass(frozen=True)
class Drawn:
    """One migration's forecast."""

    target: str
    label: str
    low: str
    width: str
    expected: str
    here: str
    """The position of the measured time."""
    said: str
    between: str
    held: str
    measured: str
    volumes: tuple[str, ...]
    impact: tuple[str, ...]
    basis: tuple[str, ...]


@dataclass(frozen=True)
class Forecast:
    """The drawing of all forecasts."""

    ticks: tuple[Tick, ...]
    drawn: tuple[Drawn, ...]
    left_out: int


class _Scale:
    """A logarithmic scale, so that milliseconds and hours fit into one drawing."""

    def __init__(self, values: Sequence[float]) -> None:
        self._low = math.log(max(min(values), 0.5))
        self._span = max(math.log(max(*values, 1.0)) - self._low, 1e-6)

    def at(self, ms: float) -> float:
        """Return the position in percent, with some room at both ends."""
        value = (math.log(max(ms, 0.5)) - self._low) / self._span
        return 2 + 96 * min(max(value, 0.0), 1.0)


def forecast(migrations: Sequence[MigrationResult]) -> Forecast | None:
    """Return the drawing; None if production is unknown. The n-th migration has the id ``m<n>``."""
    found = [
        (f"m{number}", each, estimate)
        for number, each in enumerate(migrations)
        if (estimate := forecast_phrases.made(each)) is not None
    ]
    if not found:
        return None
    longest = sorted(found, key=lambda each: -each[2].expected_ms)[:MIGRATIONS]
    kept = {target for target, *_ in longest}
    shown = [each for each in found if each[0] in kept]
    scale = _Scale([v for _, m, e in shown for v in (e.low_ms, e.high_ms, m.duration_ms)])
    values = [v for _, m, e in shown for v in (e.low_ms, e.high_ms, m.duration_ms)]
    ticks = [Tick(percent(scale.at(t)), _tick(t)) for t in _TICKS if min(values) < t < max(values)]
    return Forecast(
        tuple(ticks),
        tuple(_drawn(scale, *each) for each in shown),
        len(found) - len(shown),
    )


def _tick(ms: int) -> str:
    for unit, size in (("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= size:
            return f"{ms // size} {unit}"
    return f"{ms} ms"


def _drawn(
    scale: _Scale, target: str, migration: MigrationResult, estimate: MigrationEstimate
) -> Drawn:
    low, high = scale.at(estimate.low_ms), scale.at(estimate.high_ms)
    return Drawn(
        target,
        migration.label,
        percent(low),
        percent(high - low),
        percent(scale.at(estimate.expected_ms)),
        percent(scale.at(migration.duration_ms)),
        f"about {duration(estimate.expected_ms)}",
        forecast_phrases.between(estimate),
        forecast_phrases.held(estimate),
        duration(migration.duration_ms),
        tuple(forecast_phrases.volumes(estimate)),
        tuple(
            impact
            for table in migration.tables
            if table.production is not None
            for impact in table.production.impact
        ),
        estimate.basis,
    )
