"""What is said of the forecasts, held against the benchmark's own measurements."""

from __future__ import annotations

import json
import statistics
import sys
from importlib import import_module
from typing import Any

import pytest

from django_confiture.calibration_file import CalibrationFile, KindConstants
from django_confiture.dry_run.estimates import calibration
from django_confiture.dry_run.estimates.calibration import Z
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
    confidence = calibration.SHIPPED.confidence
    assert confidence(1000) == 0
    assert confidence(0.001) == 0
    assert confidence(0) == 0
    assert confidence(1 / 39) == confidence(39) > 0


# The constants of a machine: one repetition makes them, and the others judge them.

Judged = tuple[float, float, float, float, float]
"""How many times the rows, the real time, and the range's low, expected and high."""


@pytest.fixture(scope="module")
def held_out(benchmark: Any, found: list[Any]) -> list[Judged]:
    """Give the forecasts with the constants of each repetition, for the others of its session."""
    judged: list[Judged] = []
    for session, rep in sorted({(each["session"], each["rep"]) for each in found}):
        of_session = [each for each in found if each["session"] == session]
        kinds = benchmark.calibrate.fitted([each for each in of_session if each["rep"] == rep])
        constants = {kind: KindConstants(**each) for kind, each in kinds.items()}
        own = calibration.calibration_of(CalibrationFile("x", "", 180006, constants))
        for _case, small, n, run, real in benchmark.pairs_of(
            [each for each in of_session if each["rep"] != rep]
        ):
            judged.append((n / small, real, *benchmark.forecast_ms(run, n / small, Z, own)))
    return judged


def test_a_calibration_narrows_the_ranges_and_they_hold(
    benchmark: Any, pairs: list[Pair], held_out: list[Judged]
) -> None:
    forty = [each for each in held_out if each[0] > 35]
    shipped = [
        benchmark.forecast_ms(run, n / small, Z) for _, small, n, run, _ in pairs if n / small > 35
    ]
    width = statistics.mean(high / low for _times, _real, low, _expected, high in forty)
    assert width <= 3
    assert width < 0.85 * statistics.mean(high / low for low, _expected, high in shipped)
    assert statistics.mean(low <= real <= high for _, real, low, _, high in forty) >= 0.9
    assert statistics.median(abs(expected / real - 1) for _, real, _, expected, _ in forty) < 0.16


@pytest.mark.parametrize(("limit", "stated"), calibration.HELD_CALIBRATED)
def test_no_confidence_of_a_calibration_is_stated_that_was_not_seen(
    held_out: list[Judged], limit: float, stated: int
) -> None:
    below = [before for before, _stated in calibration.HELD_CALIBRATED if before < limit]
    near = [each for each in held_out if max(below, default=0) < each[0] <= limit]
    held = 100 * statistics.mean(low <= real <= high for _, real, low, _, high in near)
    assert held >= stated - 1
