"""How the work of each kind grew in ``benchmarks/forecast.py``, and how far forecasts were off.

Exponents are medians over sizes and repetitions; ``noise`` and ``spread`` make the ranges hold as
often as they say. ``docs/forecasts.md`` has the machine, the cases and the errors that remained.
A file of the constants of another machine takes their place, kind by kind.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_confiture.calibration_file import CalibrationFile

CONFIDENCE = 90
"""In percent: how often a range is meant to hold; see HELD for how often it has."""

Z = 1.64
"""A range this many standard errors wide on either side holds in CONFIDENCE percent of cases."""


@dataclass(frozen=True)
class Growth:
    """Time grows with rows to the power of ``exponent``."""

    exponent: float
    spread: float
    """Standard error of the exponent."""
    noise: float
    """Standard error of one measurement, as the logarithm of a ratio."""


DEFAULT = Growth(1.05, 0.15, 0.25)
"""For the kinds that the benchmark has not tried."""

SAMPLED_SPREAD = 0.20
"""Standard error of an exponent measured on two samples."""

GROWTH: dict[str, Growth] = {
    "metadata": Growth(0.0, 0.0, 0.30),
    "commit": Growth(1.0, 0.10, 0.27),
    "scan": Growth(0.90, 0.08, 0.30),
    "foreign key": Growth(0.98, 0.08, 0.25),
    "index": Growth(0.93, 0.08, 0.26),
    "index, partial": Growth(0.80, 0.08, 0.30),
    "index, text": Growth(0.98, 0.08, 0.25),
    "index, gin": Growth(0.93, 0.06, 0.18),
    "rewrite": Growth(1.06, 0.08, 0.23),
    "insert": Growth(1.05, 0.08, 0.25),
    "update": Growth(1.04, 0.08, 0.25),
    "delete": Growth(1.10, 0.10, 0.32),
    "row by row": Growth(1.0, 0.08, 0.27),
    "python": Growth(1.0, 0.08, 0.27),
    "select": Growth(0.98, 0.08, 0.27),
}

HELD: tuple[tuple[float, int], ...] = ((1.5, 91), (4, 92), (10, 95), (40, 95))
"""(Times the rows measured, ranges that held of 100, at most 95), as far as the benchmark went."""


HELD_CALIBRATED: tuple[tuple[float, int], ...] = ((1.5, 93), (4, 94), (10, 91), (40, 95))
"""The same with the constants of a calibration: each repetition of the benchmark made some, and
the others of its session judged them."""


@dataclass(frozen=True)
class Calibration:
    """The constants that forecasts are made with."""

    growths: Mapping[str, Growth]
    held: tuple[tuple[float, int], ...]

    def knows(self, kind: str) -> bool:
        """Return whether this kind of work was measured."""
        return kind in self.growths

    def growth(self, kind: str) -> Growth:
        """Return how the work of a kind grows."""
        return self.growths.get(kind, DEFAULT)

    def confidence(self, times: float) -> int:
        """Return how many of 100 ranges that extrapolate this far held; 0 if that was never tried.

        Nothing was ever measured of an empty table.
        """
        distance = max(times, 1 / times) if times > 0 else math.inf
        for limit, held in self.held:
            if distance <= limit:
                return held
        return 0


SHIPPED = Calibration(GROWTH, HELD)


def calibration_of(file: CalibrationFile | None) -> Calibration:
    """Return the shipped constants, with those of a file in the place of the same kinds."""
    if file is None:
        return SHIPPED
    measured = {
        kind: Growth(each.exponent, each.spread, each.noise) for kind, each in file.kinds.items()
    }
    return Calibration({**GROWTH, **measured}, HELD_CALIBRATED)
