"""Forecasts for production, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from django_confiture.formatting import duration, size
from django_confiture.postgres import major_version

if TYPE_CHECKING:
    from django_confiture.dry_run.results import (
        Estimate,
        MigrationEstimate,
        MigrationResult,
        Range,
        Report,
    )


def rows(migration: MigrationResult) -> Iterator[tuple[str, str]]:
    """Yield the forecast of a migration, as labels and texts."""
    estimate = made(migration)
    if estimate is None:
        return
    found = f"about {duration(estimate.expected_ms)} ({between(estimate)}; {held(estimate)})"
    yield "in prod", found
    if said := volumes(estimate):
        yield "", ", ".join(said)
    for table in migration.tables:
        if table.production is not None:
            yield from (("", text) for text in table.production.impact)
    yield from (("basis", text) for text in estimate.basis)


def made(migration: MigrationResult) -> MigrationEstimate | None:
    """Return the forecast; None if production is unknown."""
    known = any(table.production is not None for table in migration.tables)
    return migration.estimate if known else None


def held(estimate: Estimate) -> str:
    """Return how often such ranges have held."""
    if not estimate.confidence_percent:
        return "no such forecast has been checked yet"
    return f"such ranges held in {estimate.confidence_percent} of 100 cases"


def volumes(estimate: MigrationEstimate, said: Callable[[int], str] = size) -> list[str]:
    """Return the WAL, dead rows and disk that are large enough to matter."""
    return [
        f"{said(count)} {what}"
        for count, what in (
            (estimate.wal_bytes, "of WAL"),
            (estimate.dead_bytes, "of dead rows"),
            (estimate.disk_bytes, "of free disk needed"),
        )
        if count and count >= 1024**2
    ]


def between(found: Range) -> str:
    """Return a range's ends."""
    return f"{duration(found.low_ms)} to {duration(found.high_ms)}"


def whose_times(report: Report) -> str:
    """Return which database the times are of."""
    stats = report.production
    if stats is None:
        return "Times are those of this database, not of production."
    used = report.calibration
    made_with = "" if used is None else f", made with the calibration of {used.made_at[:10]}"
    return (
        "Times are those of this database; those in production are forecasts for "
        f"{stats.database}, PostgreSQL {major_version(stats.server_version)}, "
        f"as of {stats.collected_at}{made_with}."
    )
