"""Forecasts compared with real runs: errors, ranges that held, correction factors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from django_confiture.history.normalized_sql import normalize

if TYPE_CHECKING:
    from django_confiture.history.models import MigrationExecution

MIGRATION = "migration"
NOISE_MS = 1.0
"""If both durations are below this, only the round trip was measured, so we don't compare them."""
ENOUGH = 3
"""The fewest observations that make a factor."""

_RECORDS = ('INSERT INTO "django_migrations"', 'DELETE FROM "django_migrations"')
_RANGE = ("low_ms", "expected_ms", "high_ms", "confidence_percent")


@dataclass(frozen=True)
class MigrationForecast:
    """What one dry run forecast for one migration, as plain JSON values."""

    app_label: str
    name: str
    direction: str
    estimate: Mapping[str, Any]
    """``low_ms``, ``expected_ms``, ``high_ms``, ``confidence_percent``, ``basis``."""
    statements: Sequence[Mapping[str, Any]]
    """The same without a basis, with ``sql`` (without literals) and ``kind``; each text once."""

    @classmethod
    def of(cls, migration: Mapping[str, Any]) -> MigrationForecast:
        """Make it from one of a JSON report's ``migrations``."""
        estimate = migration["estimate"]
        operations = migration.get("operations") or ()
        everything = [
            *(each for operation in operations for each in operation["statements"]),
            *(each for each in migration.get("statements") or () if not _is_record(each)),
        ]
        return cls(
            migration["app_label"],
            migration["name"],
            migration["direction"],
            {**_range(estimate), "basis": list(estimate.get("basis") or ())},
            _by_text(each for each in everything if each["sql"] and each.get("estimate")),
        )


def _is_record(statement: Mapping[str, Any]) -> bool:
    """Return whether a statement is Django's own, which records the migration."""
    return str(statement["sql"] or "").startswith(_RECORDS)


@dataclass(frozen=True)
class Comparison:
    """One forecast and the real duration, in milliseconds."""

    kind: str
    """``migration``, or the kind of a statement."""
    label: str
    """The migration; for a statement, its text."""
    actual_ms: float
    low_ms: float
    expected_ms: float
    high_ms: float
    confidence_percent: int
    factor: float = 1.0
    """The correction from earlier runs that is part of the forecast."""

    @property
    def ratio(self) -> float:
        """Return the actual duration as a multiple of the expected one."""
        return self.actual_ms / self.expected_ms

    @property
    def inside(self) -> bool:
        """Whether the actual duration was in the range."""
        return self.low_ms <= self.actual_ms <= self.high_ms


@dataclass(frozen=True)
class Factor:
    """Actual durations as multiples of the expected ones."""

    median: float
    low: float
    """One in ten was below this."""
    high: float
    """One in ten was above this."""
    count: int

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Factor:
        """Make it from the ratios of one or more observations."""
        if len(ratios) == 1:
            return cls(ratios[0], ratios[0], ratios[0], 1)
        tenths = quantiles(ratios, n=10, method="inclusive")
        return cls(median(ratios), tenths[0], tenths[-1], len(ratios))


@dataclass(frozen=True)
class Accuracy:
    """How good the forecasts of one kind were."""

    kind: str
    count: int
    median_error_percent: float
    """The median distance from the expected duration, above or below."""
    inside_percent: float
    """How often the actual duration was in the range."""
    confidence_percent: float
    """How often it should have been: the mean confidence of the forecasts."""
    spread: Factor


def compare(run: MigrationExecution, forecast: MigrationForecast) -> Iterator[Comparison]:
    """Yield the comparisons of a run with its forecast: the whole, and each recognized statement.

    A run that was retried after a lock timeout waited in between, so its whole is not compared.
    """
    if run.attempts == 1:
        whole = _comparison(
            MIGRATION, f"{run.app_label}.{run.name}", run.duration_ms, forecast.estimate
        )
        if whole is not None:
            yield whole
    actual: dict[str, float] = {}
    for statement in run.statements.all():
        actual[statement.sql] = actual.get(statement.sql, 0.0) + statement.duration_ms
    for each in forecast.statements:
        if each["sql"] in actual:
            found = _comparison(each["kind"], each["sql"], actual[each["sql"]], each)
            if found is not None:
                yield found


def accuracies(comparisons: Iterable[Comparison]) -> list[Accuracy]:
    """Return the accuracy of each kind, migrations first."""
    by_kind: dict[str, list[Comparison]] = {}
    for each in comparisons:
        by_kind.setdefault(each.kind, []).append(each)
    return [
        Accuracy(
            kind,
            len(found),
            median(abs(each.ratio - 1) * 100 for each in found),
            100 * sum(each.inside for each in found) / len(found),
            sum(each.confidence_percent for each in found) / len(found),
            Factor.of([each.ratio for each in found]),
        )
        for kind, found in sorted(by_kind.items(), key=lambda item: (item[0] != MIGRATION, item[0]))
    ]


def factors_of(comparisons: Iterable[Comparison]) -> dict[str, Factor]:
    """Return the factor of each kind of statement that was observed often enough."""
    return {
        each.kind: each.spread
        for each in accuracies(_uncorrected(comparisons))
        if each.kind != MIGRATION and each.count >= ENOUGH
    }


def _uncorrected(comparisons: Iterable[Comparison]) -> Iterator[Comparison]:
    """Yield the forecasts without earlier corrections: a factor corrects the model alone."""
    for each in comparisons:
        yield replace(each, expected_ms=each.expected_ms / each.factor)


def _comparison(
    kind: str, label: str, actual_ms: float, forecast: Mapping[str, Any]
) -> Comparison | None:
    expected = forecast["expected_ms"]
    if expected <= 0 or (expected < NOISE_MS and actual_ms < NOISE_MS):
        return None
    known = {name: forecast[name] for name in _RANGE}
    return Comparison(kind, label, actual_ms, **known, factor=forecast.get("factor", 1.0))


def _range(estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {name: estimate[name] for name in _RANGE}


def _by_text(statements: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each text once with the sum of its ranges, like the statements of a run."""
    found: dict[str, dict[str, Any]] = {}
    for statement in statements:
        estimate, text = statement["estimate"], normalize(statement["sql"])
        known = found.setdefault(
            text,
            {
                "sql": text,
                "kind": estimate["kind"],
                **dict.fromkeys(_RANGE, 0),
                "confidence_percent": estimate["confidence_percent"],
                "factor": estimate.get("factor", 1.0),
            },
        )
        for name in ("low_ms", "expected_ms", "high_ms"):
            known[name] += estimate[name]
        known["confidence_percent"] = min(
            known["confidence_percent"], estimate["confidence_percent"]
        )
    return list(found.values())
