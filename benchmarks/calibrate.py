"""The constants of this machine: how the time of each kind of work grows, from dry runs of sizes.

Each kind's exponent is the slope of the logarithms of time and rows, over all its cases and
repetitions; the release's own constants count as much as their standard errors say.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SIZES = (50_000, 200_000, 800_000)
SECONDS = 270
"""After so long no repetition begins any more; tables are loaded within it."""

_LEAST_MS = 5
"""A shorter part is noise."""
_PRIOR_WEIGHT = 8
"""So many measurements the release's own noise counts for."""

Point = tuple[float, float]


def fitted(found: Iterable[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the constants of each kind that was measured at two sizes or more."""
    from django_confiture.dry_run.estimates.calibration import GROWTH

    return {
        kind: _constants(GROWTH[kind], list(cases))
        for kind, cases in _by_kind(found).items()
        if kind in GROWTH
    }


def write(path: Path, found: list[dict[str, Any]], server_version: int) -> None:
    """Write the calibration file."""
    document = {
        "confiture_calibration": 1,
        "made_at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "server_version": server_version,
        "rows": sorted({entry["n"] for entry in found}),
        "repetitions": 1 + max(entry["rep"] for entry in found),
        "kinds": fitted(found),
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def _by_kind(found: Iterable[dict[str, Any]]) -> dict[str, list[list[Point]]]:
    """Return (log rows, log ms) of each part of each case, around their means."""
    parts: dict[tuple[str, str, int], list[Point]] = defaultdict(list)
    for entry in found:
        for position, kind, point in _points(entry):
            parts[entry["case"], kind, position].append(point)
    kinds: dict[str, list[list[Point]]] = defaultdict(list)
    for (_case, kind, _position), points in parts.items():
        if len({round(rows, 2) for rows, _ms in points}) > 1:
            kinds[kind].append(_centered(points))
    return kinds


def _points(entry: dict[str, Any]) -> Iterator[tuple[int, str, Point]]:
    from django_confiture.dry_run.estimates.growth import FIXED_MS
    from django_confiture.dry_run.estimates.statement_work import METADATA

    for position, item in enumerate(entry.get("dry", {}).get("items", ())):
        rows = sum(item["rows"].values())
        if rows and item["kind"] != METADATA and item["ms"] >= _LEAST_MS:
            yield position, item["kind"], (math.log(rows), math.log(item["ms"] - FIXED_MS))


def _centered(points: list[Point]) -> list[Point]:
    rows, ms = (statistics.mean(each) for each in zip(*points, strict=True))
    return [(x - rows, y - ms) for x, y in points]


def _constants(prior: Any, cases: list[list[Point]]) -> dict[str, float]:
    points = [point for case in cases for point in case]
    across = sum(x * x for x, _y in points)
    slope = sum(x * y for x, y in points) / across
    free = max(1, len(points) - len(cases) - 1)
    left = sum((y - slope * x) ** 2 for x, y in points)
    # A forecast has the noise of two measurements: the dry run's and the real run's.
    variance = (_PRIOR_WEIGHT * prior.noise**2 / 2 + left) / (_PRIOR_WEIGHT + free)
    weights = (1 / prior.spread**2, across / variance)
    return {
        "exponent": round((weights[0] * prior.exponent + weights[1] * slope) / sum(weights), 4),
        "spread": round(sum(weights) ** -0.5, 4),
        "noise": round(math.sqrt(2 * variance), 4),
    }
