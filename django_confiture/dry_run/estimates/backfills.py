"""What backfills will take in production: the sample's rate, for as many rows as are there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from django_confiture.backfills.forecasting.outlook import BackfillOutlook
from django_confiture.dry_run.estimates.row_counts import Sizes
from django_confiture.dry_run.results import MigrationResult


def with_backfills(
    result: MigrationResult, outlooks: Iterable[BackfillOutlook], sizes: Sizes
) -> MigrationResult:
    """Return the result with the backfills that it starts, in production's sizes if known."""
    found = tuple(_in_production(each, sizes) for each in outlooks)
    texts = (each.text for each in found)
    return replace(result, backfills=found, warnings=(*result.warnings, *texts))


def _in_production(outlook: BackfillOutlook, sizes: Sizes) -> BackfillOutlook:
    if outlook.forecast is None or sizes.stats is None:
        return outlook
    ratio = sizes.scale(outlook.relation).ratio
    if ratio is None:
        problem = f"How many rows {outlook.relation} has in production is not known."
        return replace(outlook, problem=problem)
    return replace(outlook, forecast=outlook.forecast.times(ratio))
