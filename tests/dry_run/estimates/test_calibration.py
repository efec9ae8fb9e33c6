"""What is said of the forecasts, held against the benchmark's own measurements."""

from __future__ import annotations

import json
import statistics
import sys
from importlib import import_module
from typing import Any

import pytest

from django_confiture.dry_run.estimates import calibration
from tests.support.paths import ROOT

BENCHMARKS = ROOT / "benchmarks"

Pair = tuple[str, int, int, Any, float]


@pytest.fixture(scope="module")
def benchmark() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return import_module("forecast")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def found() -> list[Any]:
    """Give the measurements."""
    measured: list[Any] = json.loads((BENCHMARKS / "forecast.json").read_text())
    return measured


@pytest.fixture(scope="module")
def pairs(benchmark: Any, found: list[Any]) -> list[Pair]:
    """Give every dry run with every real run of a table as large or larger."""
    pairs: list[Pair] = benchmark.pairs_of(found)
    return pairs


@pytest.mark.parametrize(
    ("z", "least", "most"), [(1.28, 70, 90), (calibration.Z, 85, 95)], ids=["80 %", "90 %"]
)
def test_ranges_hold_as_often_as_they_say(
    benchmark: Any, pairs: list[Pair], z: float, least: int, most: int
) -> None:
    held = 100 * statistics.mean(benchmark.holds(pair, z) for pair in pairs)
    assert least <= held <= most


@pytest.mark.parametrize(("limit", "stated"), calibration.HELD)
def test_no_confidence_is_stated_that_was_not_seen(
    benchmark: Any, pairs: list[Pair], limit: float, stated: int
) -> None:
    below = [before for before, _stated in calibration.HELD if before < limit]
    near = [p for p in pairs if max(below, default=0) < p[2] / p[1] <= limit]
    held = 100 * statistics.mean(benchmark.holds(pair, calibration.Z) for pair in near)
    assert held >= stated - 1


@pytest.mark.parametrize(("dry", "most"), [("dry", 0.2), ("sampled", 0.15)])
def test_how_far_off_they_are_at_ten_times_the_rows(
    benchmark: Any, found: list[Any], dry: str, most: float
) -> None:
    ten = [pair for pair in benchmark.pairs_of(found, dry) if 9 < pair[2] / pair[1] < 11]
    ranges = [
        (benchmark.forecast_ms(run, n / small, calibration.Z), real)
        for _case, small, n, run, real in ten
    ]
    assert statistics.median(abs(each[1] / real - 1) for each, real in ranges) <= most
    assert statistics.mean(low <= real <= high for (low, _, high), real in ranges) >= 0.9
    assert statistics.mean(high / low for (low, _, high), _real in ranges) <= 3


def test_beyond_what_was_tried_there_is_no_confidence() -> None:
    assert calibration.confidence(1000) == 0
    assert calibration.confidence(0.001) == 0
    assert calibration.confidence(0) == 0
    assert calibration.confidence(1 / 39) == calibration.confidence(39) > 0
