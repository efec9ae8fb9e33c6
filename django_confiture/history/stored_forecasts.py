"""Reads forecasts, the runs that they were for, and the last dry run from the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import router

from django_confiture.history.accuracy import (
    MIGRATION,
    Comparison,
    Factor,
    MigrationForecast,
    compare,
    factors_of,
)
from django_confiture.history.models import DryRun, Forecast, MigrationExecution
from django_confiture.migrate.known_forecasts import Key
from django_confiture.migration_files import has_changed, recorded_hash


@dataclass(frozen=True)
class LastDryRun:
    """How long each migration took in the last dry run."""

    made_at: datetime
    durations_ms: Mapping[str, float]
    """By label; only migrations that passed, forwards, and whose files have not changed since."""


def forecasts_in(migrations: Iterable[Mapping[str, Any]]) -> list[MigrationForecast]:
    """Return the forecasts in a JSON report's ``migrations``."""
    return [MigrationForecast.of(each) for each in migrations if each.get("estimate")]


def observed(
    database: str, forecasts: Iterable[MigrationForecast] | None = None
) -> list[Comparison]:
    """Return the comparisons of forecasts for ``database`` with real runs.

    Each completed run is compared with the last forecast before it of the file that ran.
    ``forecasts`` of a report file, which has no date, are compared with the last run of each
    migration.
    """
    return [
        found for run, forecast in _pairs(database, forecasts) for found in compare(run, forecast)
    ]


def observed_runs(database: str) -> list[tuple[MigrationExecution, Comparison]]:
    """Return the runs that can be compared with a forecast as a whole, in order."""
    return [
        (run, found)
        for run, forecast in _pairs(database)
        for found in compare(run, forecast)
        if found.kind == MIGRATION
    ]


def factors(alias: str) -> dict[str, Factor]:
    """Return by how much forecasts for this database were off, for each kind of statement.

    Kinds observed fewer than three times are left out.
    """
    return factors_of(observed(alias))


def last_dry_run(alias: str) -> LastDryRun | None:
    """Return the last dry run of this database whose report was kept."""
    rows = DryRun.objects.using(router.db_for_read(DryRun)).filter(database=alias)
    row = rows.exclude(report="").order_by("-number").first()
    if row is None:
        return None
    passed = {
        f"{each['app_label']}.{each['name']}": each["duration_ms"]
        for each in json.loads(row.report)["migrations"]
        if each["outcome"] == "passed" and each["direction"] == "forward"
    }
    same = {
        label: ms for label, ms in passed.items() if not has_changed(label, "forward", row.plan)
    }
    return LastDryRun(row.made_at, same)


def _pairs(
    database: str, forecasts: Iterable[MigrationForecast] | None = None
) -> Iterable[tuple[MigrationExecution, MigrationForecast]]:
    rows = MigrationExecution.objects.using(router.db_for_read(MigrationExecution))
    completed = rows.filter(database=database, outcome="completed").order_by("number")
    with_statements = completed.prefetch_related("statements")
    if forecasts is None:
        return _with_last_forecast(with_statements, database)
    last = {_key(run): run for run in with_statements}
    return ((last[_key(each)], each) for each in forecasts if _key(each) in last)


def _with_last_forecast(
    runs: Iterable[MigrationExecution], database: str
) -> Iterator[tuple[MigrationExecution, MigrationForecast]]:
    stored: dict[Key, list[Forecast]] = {}
    known = Forecast.objects.using(router.db_for_read(Forecast)).filter(database=database)
    with_plans = known.select_related("dry_run").defer("dry_run__report")
    for each in with_plans.order_by("made_at", "pk"):
        stored.setdefault(_key(each), []).append(each)
    for run in runs:
        before = [
            each
            for each in stored.get(_key(run), ())
            if each.made_at <= run.started_at and _is_of_same_file(each, run)
        ]
        if before:
            last = before[-1]
            yield (
                run,
                MigrationForecast(
                    last.app_label, last.name, last.direction, last.estimate, last.statements
                ),
            )


def _is_of_same_file(forecast: Forecast, run: MigrationExecution) -> bool:
    """Return whether the migration's file was the same, as far as that is known."""
    label = f"{run.app_label}.{run.name}"
    then = recorded_hash(label, run.direction, forecast.dry_run.plan)
    return not (then and run.source_hash) or then == run.source_hash


def _key(row: MigrationExecution | Forecast | MigrationForecast) -> Key:
    return row.app_label, row.name, row.direction
