"""In a dry run: a sample of batches, measured and rolled back, says what the whole will take."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from django.db import Error, connections, transaction

from django_confiture.backfills.batches import do_window
from django_confiture.backfills.declaration import Backfill
from django_confiture.backfills.error_kinds import one_line
from django_confiture.backfills.options import backfill_options
from django_confiture.backfills.planning import estimated_to_do, quantile_keys
from django_confiture.backfills.windows import next_window
from django_confiture.formatting import count, duration, size

if TYPE_CHECKING:
    from django.apps.registry import Apps

PLACES = 4
"""Parts of the table that the sample is taken from: the first rows need not be like the last."""
SECONDS_A_PLACE = 1.0
BATCHES_A_PLACE = 8
FASTER, SLOWER = 0.7, 1.8
"""How far a real run may be from the sample: what is cached, commits, checkpoints, other work.
From the runs in benchmarks/README.md."""


class Rehearsing(Protocol):
    """What a dry run offers to operations that sample in it."""

    def unrecorded(self) -> AbstractContextManager[None]:
        """Undo what is done inside, and measure none of it."""

    def note(self, text: str) -> None:
        """Put a line into the report of the migration."""


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
    """Rows to do, by the planner's estimate."""
    rows_per_second: float
    low_seconds: float
    expected_seconds: float
    high_seconds: float
    wal_bytes: int
    batches: int
    """How many batches were measured."""
    sampled_rows: int


def forecast_in(rehearsal: Rehearsing, backfill: Backfill, *, using: str, apps: Apps) -> str:
    """Sample a backfill in a dry run; return the forecast in words."""
    name = backfill.path()
    with transaction.atomic(using=using):  # which process() may need
        try:
            forecast = sampled_forecast(rehearsal, backfill, using=using, apps=apps)
        except Error as error:
            transaction.set_rollback(False, using=using)  # it is undone already
            why = one_line(error)
            return f"Backfill {name}: a sample of it failed, and so may all of it: {why}"
    if forecast is None:
        return f"Backfill {name}: no row of the sample is to be done, so nothing is known of it."
    return f"Backfill {name}: {described(forecast)}"


def sampled_forecast(
    rehearsal: Rehearsing, backfill: Backfill, *, using: str, apps: Apps
) -> BackfillForecast | None:
    """Return the forecast from a sample; None where no row of it is to be done."""
    with rehearsal.unrecorded():
        rows = estimated_to_do(backfill, using=using, apps=apps)
        batches = list(_sample(backfill, using, apps))
    return forecast_of(batches, rows)


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
    )


def described(forecast: BackfillForecast) -> str:
    """Return a forecast in words."""
    low, expected, high = (
        duration(seconds * 1000)
        for seconds in (forecast.low_seconds, forecast.expected_seconds, forecast.high_seconds)
    )
    return (
        f"about {count(forecast.rows, 'row')}, about {expected} ({low} to {high}) at "
        f"{forecast.rows_per_second:,.0f} rows/s with one worker, {size(forecast.wal_bytes)} of "
        f"WAL; from {forecast.batches} batch{'' if forecast.batches == 1 else 'es'} of "
        f"{count(forecast.sampled_rows, 'row')}, "
        "rolled back. Nothing was queued."
    )


def _sample(backfill: Backfill, using: str, apps: Apps) -> Iterator[SampledBatch]:
    """Do the first batches of each part of the table."""
    sizer, rows = backfill_options().sizer(), backfill.rows(using, apps)
    bounds = [None, *quantile_keys(backfill.model_in(apps), using, PLACES), None]
    for cursor, high in pairwise(bounds):
        began = perf_counter()
        for _ in range(BATCHES_A_PLACE):
            started, wal = perf_counter(), _wal_position(using)
            window = next_window(rows, after=cursor, high=high, size=sizer.size)
            if window is None or perf_counter() - began > SECONDS_A_PLACE:
                break
            done = do_window(backfill, window, using=using, apps=apps)
            _flush_wal(using)
            seconds = perf_counter() - started
            yield SampledBatch(done, seconds, _wal_position(using) - wal)
            cursor = window.last
            if window.full:
                sizer = sizer.after_batch(rows=window.size, seconds=seconds)


def _flush_wal(using: str) -> None:
    """Wait for the disk as the COMMIT of a batch would; PostgreSQL can before one since 17.

    The message that carries it belongs to the transaction, which is rolled back.
    """
    connection = connections[using]
    if connection.pg_version >= 170000:  # type: ignore[attr-defined]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_catalog.pg_logical_emit_message(true, 'confiture', '', true)")


def _wal_position(using: str) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')"
        )
        row: Any = cursor.fetchone()
        return int(row[0])
