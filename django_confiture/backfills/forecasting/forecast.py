"""In a dry run: a sample of batches, measured and rolled back, says what the whole will take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from django.db import Error, connections, transaction

from django_confiture.backfills.batching.batches import do_window
from django_confiture.backfills.batching.windows import next_window
from django_confiture.backfills.declared.declaration import Backfill
from django_confiture.backfills.forecasting.outlook import (
    BackfillForecast,
    BackfillOutlook,
    SampledBatch,
    forecast_of,
)
from django_confiture.backfills.options import backfill_options
from django_confiture.backfills.ranges.planning import estimated_to_do, quantile_keys
from django_confiture.formatting import error_line
from django_confiture.postgres import POSTGRESQL_17

if TYPE_CHECKING:
    from django.apps.registry import Apps

PLACES = 4
"""Parts of the table that the sample is taken from: the first rows need not be like the last."""
SECONDS_A_PLACE = 1.0
BATCHES_A_PLACE = 8


class Rehearsing(Protocol):
    """What a dry run offers to operations that sample in it."""

    def unrecorded(self) -> AbstractContextManager[None]:
        """Undo what is done inside, and measure none of it."""

    def note_backfill(self, outlook: BackfillOutlook) -> None:
        """Put what will come of a backfill into the report of the migration."""


def outlook_in(
    rehearsal: Rehearsing, backfill: Backfill, *, using: str, apps: Apps
) -> BackfillOutlook:
    """Sample a backfill in a dry run; return what will come of it."""
    found = partial(BackfillOutlook, backfill.path(), backfill.model_in(apps)._meta.db_table)
    with transaction.atomic(using=using):  # which process() may need
        try:
            forecast = sampled_forecast(rehearsal, backfill, using=using, apps=apps)
        except Error as error:
            transaction.set_rollback(False, using=using)  # it is undone already
            why = error_line(error)
            return found(None, f"a sample of it failed, and so may all of it: {why}")
    if forecast is None:
        return found(None, "no row of the sample is to be done, so nothing is known of it.")
    return found(forecast)


def sampled_forecast(
    rehearsal: Rehearsing, backfill: Backfill, *, using: str, apps: Apps
) -> BackfillForecast | None:
    """Return the forecast from a sample; None where no row of it is to be done."""
    with rehearsal.unrecorded():
        rows = estimated_to_do(backfill, using=using, apps=apps)
        batches = list(_sample(backfill, using, apps))
    return forecast_of(batches, rows)


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
    if connection.pg_version >= POSTGRESQL_17:  # type: ignore[attr-defined]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_catalog.pg_logical_emit_message(true, 'confiture', '', true)")


def _wal_position(using: str) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')"
        )
        row: Any = cursor.fetchone()
        return int(row[0])
