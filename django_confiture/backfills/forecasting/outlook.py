"""What a dry run says of a backfill that a migration starts: plain data, and its words."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django_confiture.formatting import count, duration, size

FASTER, SLOWER = 0.7, 1.8
"""How far a real run may be from the sample: what is cached, commits, checkpoints, other work.
From the runs in benchmarks/README.md."""


@dataclass(frozen=True)
class SampledBatch:
    """One batch of the sample."""

    rows: int
    """Rows that were done."""
    seconds: float
    wal_bytes: int


@dataclass(frozen=True)
class BackfillForecast:
    """What one worker will take for the whole."""

    rows: int
    """Rows to do: an estimate, in production where its sizes are known."""
    rows_per_second: float
    low_seconds: float
    expected_seconds: float
    high_seconds: float
    wal_bytes: int
    batches: int
    """How many batches were measured."""
    sampled_rows: int
    rows_here: int
    """Rows to do in the database of the dry run."""

    def times(self, ratio: float) -> BackfillForecast:
        """Return the forecast for a table with ``ratio`` times as many rows."""
        return replace(
            self,
            rows=round(self.rows * ratio),
            low_seconds=self.low_seconds * ratio,
            expected_seconds=self.expected_seconds * ratio,
            high_seconds=self.high_seconds * ratio,
            wal_bytes=round(self.wal_bytes * ratio),
        )


@dataclass(frozen=True)
class BackfillOutlook:
    """A backfill that a migration starts, as far as a sample of it tells."""

    name: str
    """The dotted path of its class."""
    relation: str
    """The table that it fills."""
    forecast: BackfillForecast | None
    problem: str = ""
    """Why there is no forecast, or what it doesn't know."""

    @property
    def text(self) -> str:
        """The whole in words."""
        said = [] if self.forecast is None else [described(self.forecast)]
        return f"Backfill {self.name}: {' '.join([*said, *filter(None, [self.problem])])}"


def forecast_of(batches: Sequence[SampledBatch], rows: int) -> BackfillForecast | None:
    """Return the forecast from a sample; None where no row of it was to be done.

    The larger half of the batches counts: those of the backfill grow to that size at once.
    """
    did = sorted((each for each in batches if each.rows), key=lambda each: each.rows)
    if not did:
        return None
    large = did[len(did) // 2 :]
    rates = sorted(each.rows / max(each.seconds, 1e-6) for each in large)
    expected = rows / statistics.median(rates)
    wal = sum(each.wal_bytes for each in large) / sum(each.rows for each in large)
    return BackfillForecast(
        rows=rows,
        rows_per_second=statistics.median(rates),
        low_seconds=FASTER * min(expected, rows / rates[-1]),
        expected_seconds=expected,
        high_seconds=SLOWER * max(expected, rows / rates[0]),
        wal_bytes=round(wal * rows),
        batches=len(did),
        sampled_rows=sum(each.rows for each in did),
        rows_here=rows,
    )


def described(forecast: BackfillForecast) -> str:
    """Return a forecast in words."""
    low, expected, high = (
        duration(seconds * 1000)
        for seconds in (forecast.low_seconds, forecast.expected_seconds, forecast.high_seconds)
    )
    rows = count(forecast.rows, "row")
    if forecast.rows != forecast.rows_here:
        rows += f" in production ({forecast.rows_here:,} here)"
    return (
        f"about {rows}, about {expected} ({low} to {high}) at "
        f"{forecast.rows_per_second:,.0f} rows/s with one worker, {size(forecast.wal_bytes)} of "
        f"WAL; from {forecast.batches} batch{'' if forecast.batches == 1 else 'es'} of "
        f"{count(forecast.sampled_rows, 'row')}, "
        "rolled back. Nothing was queued."
    )
