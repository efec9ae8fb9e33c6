"""How long a part of a migration takes where the tables have other sizes.

``expected = fixed + (measured - fixed) * (rows there / rows here) ** exponent``, with the exponent
of its kind from ``calibration.py``. The range is as wide as the benchmark's forecasts were off:
``noise`` at the same size, and more with every order of magnitude that is extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django_confiture.dry_run.estimates.calibration import (
    SAMPLED_SPREAD,
    SHIPPED,
    Calibration,
    Growth,
)
from django_confiture.dry_run.estimates.row_counts import SMALL, Scale, Sizes
from django_confiture.dry_run.estimates.statement_work import METADATA
from django_confiture.dry_run.estimates.time_parts import Item
from django_confiture.dry_run.results import Range

if TYPE_CHECKING:
    from django_confiture.dry_run.estimates.past_errors import PastErrors

FIXED_MS = 0.5
"""Milliseconds that a statement takes at any size of the table: parsing, locks, catalogs."""

# Where the extrapolation's ground is thin, standard errors that the benchmark doesn't know.
_UNKNOWN_SIZE = 0.7
_SMALL_TABLE = 0.35
_COLD = 0.2


@dataclass(frozen=True)
class ItemForecast:
    """The forecast of one item; ``sigma`` is the standard error of its logarithm."""

    item: Item
    expected_ms: float
    sigma: float
    times: float
    """How many times the rows that were measured."""
    scales: tuple[Scale, ...] = ()
    doubts: tuple[str, ...] = ()
    tried: bool = True
    """Whether the benchmark has tried this kind of work."""
    known: bool = True
    """Whether it has tried such a forecast: this kind, and tables of such sizes."""
    factor: float = 1.0
    """What earlier forecasts of the kind were off by on this database, which is in it."""
    empty: tuple[str, ...] = ()
    """Tables that have rows in production and none here: nothing was measured of them."""

    def range(self, z: float) -> Range:
        """Return the range that is ``z`` standard errors wide on either side."""
        width = math.exp(z * self.sigma)
        return Range(self.expected_ms / width, self.expected_ms, self.expected_ms * width)


def _growth(item: Item, calibration: Calibration) -> Growth:
    """Return how a kind grows; what samples have said of this very statement sharpens it."""
    prior = calibration.growth(item.work.kind)
    if item.sampled is None:
        return prior
    weights = [1 / prior.spread**2, 1 / SAMPLED_SPREAD**2]
    exponent = (weights[0] * prior.exponent + weights[1] * item.sampled.exponent) / sum(weights)
    return Growth(exponent, sum(weights) ** -0.5, prior.noise)


def forecast(
    item: Item,
    sizes: Sizes,
    past_errors: Mapping[str, PastErrors] | None = None,
    *,
    calibration: Calibration = SHIPPED,
) -> ItemForecast:
    """Return the forecast of one item; ``past_errors`` are those of each kind of work."""
    part = _forecast(item, sizes, calibration)
    observed = (past_errors or {}).get(item.work.kind)
    if observed is None or not part.scales:
        return part
    # A tenth was below, a tenth above: 1.28 standard errors to either side.
    spread = math.log(observed.high / observed.low) / (2 * 1.28)
    noise = calibration.growth(item.work.kind).noise
    text = (
        f"{item.work.kind}: {observed.count} earlier runs on this database took "
        f"{observed.median:.2g} times what was expected"
    )
    return replace(
        part,
        expected_ms=part.expected_ms * observed.median,
        sigma=math.hypot(part.sigma, max(0.0, spread - noise)),
        doubts=(*part.doubts, text),
        factor=observed.median,
    )


def _forecast(item: Item, sizes: Sizes, calibration: Calibration) -> ItemForecast:
    work = item.work
    if not work.rows or work.kind == METADATA:
        return ItemForecast(item, item.duration_ms, calibration.growth(METADATA).noise, 1.0)
    scales = tuple(sizes.scale(name, work.sizes.get(name)) for name in work.rows)
    weights = work.rows if any(work.rows.values()) else dict.fromkeys(work.rows, 1)
    growth = _growth(item, calibration)
    fixed = min(FIXED_MS, item.duration_ms)
    expected, ratio, variance = fixed, 0.0, growth.noise**2
    doubts = [doubt for scale in scales for doubt in scale.doubts]
    for scale, rows in zip(scales, weights.values(), strict=True):
        share = rows / sum(weights.values())
        times = 1.0 if scale.ratio is None else scale.ratio
        expected += (item.duration_ms - fixed) * share * times**growth.exponent
        ratio += share * times
        variance += (share * _uncertainty(scale)) ** 2
        if _is_small(scale):
            doubts.append(f"{scale.relation} has only {scale.here:,} rows here")
    if ratio > 0:
        variance += (growth.spread * math.log(ratio)) ** 2
    if ratio > 1 and sizes.wider(work.rows):
        variance += _COLD**2
        doubts.append("the table is larger than production's shared_buffers")
    return ItemForecast(
        item,
        expected,
        math.sqrt(variance),
        ratio,
        scales,
        tuple(doubts),
        tried=calibration.knows(work.kind),
        known=calibration.knows(work.kind) and all(map(_is_known, scales)),
        empty=tuple(scale.relation for scale in scales if scale.there and not scale.here),
    )


def _is_small(scale: Scale) -> bool:
    """Return whether there are too few rows here to extrapolate from."""
    return (
        scale.ratio is not None
        and scale.ratio > 1
        and scale.here is not None
        and scale.here < SMALL
    )


def _is_known(scale: Scale) -> bool:
    """Return whether the benchmark has tried a table of such sizes."""
    return scale.there == 0 if scale.ratio is None else not _is_small(scale)


def _uncertainty(scale: Scale) -> float:
    """Return the standard error that a table's sizes add."""
    if scale.ratio is None:
        return _UNKNOWN_SIZE
    return _SMALL_TABLE if _is_small(scale) else 0.0
