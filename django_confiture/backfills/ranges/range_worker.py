"""One worker on one range: batch after batch, until it is done or has to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING

from django.apps import apps as live_apps
from django.db import Error, connections, transaction

from django_confiture.backfills.batching.batch_sizer import BatchSizer
from django_confiture.backfills.batching.batches import do_window
from django_confiture.backfills.batching.keys import key_from_json, key_to_json, shown_key
from django_confiture.backfills.batching.windows import Window, next_window
from django_confiture.backfills.declared.declaration import Backfill
from django_confiture.backfills.error_kinds import ErrorKind, RowFault, backoff, kind_of
from django_confiture.backfills.models import (
    BackfillRange,
    BackfillRowError,
    BackfillRun,
    BackfillState,
)
from django_confiture.backfills.options import BackfillOptions
from django_confiture.backfills.ranges.leases import Lease
from django_confiture.backfills.safeguards.transactions import brief, set_timeouts
from django_confiture.backfills.throttles import Moment
from django_confiture.backfills.throttles.configured import Throttling
from django_confiture.exceptions import BackfillError
from django_confiture.formatting import error_line

if TYPE_CHECKING:
    from django.apps.registry import Apps

logger = logging.getLogger("django_confiture.backfills")

HELD_FOR = 0.2
"""Seconds between two checks of what holds the backfill."""


class RangeOutcome(Enum):
    """How the work on a range ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    """The backfill was paused, cancelled, or has failed."""
    TIME_UP = "time up"


@dataclass(frozen=True)
class Job:
    """The settings and connection that every worker on a backfill needs."""

    run: BackfillRun
    backfill: Backfill
    using: str
    options: BackfillOptions
    apps: Apps = live_apps
    throttling: Throttling = field(default_factory=Throttling)


class RangeWorker:
    """Does one range under a lease."""

    def __init__(self, job: Job, lease: Lease, sizer: BatchSizer) -> None:
        self._job = job
        self._lease = lease
        self._connection = connections[job.using]
        model = job.backfill.model_in(job.apps)
        row = BackfillRange.objects.using(job.using).get(pk=lease.range_id)
        self._rows = job.backfill.rows(job.using, job.apps)
        self._table = self._connection.ops.quote_name(model._meta.db_table)
        self._cursor = None if row.cursor is None else key_from_json(model, row.cursor)
        self._high = None if row.high is None else key_from_json(model, row.high)
        self._done = row.done
        self._sizer = sizer
        self._limit: int | None = None  # rows, while a fault is being isolated
        self._window: Window | None = None
        self._failures = 0
        self._checked = False
        self._last_batch = 0.0
        self._ended = monotonic()
        self._began, self._began_with = monotonic(), row.done

    def work(self, *, stop: Callable[[], bool]) -> RangeOutcome:
        """Go on until the range is done, the backfill ends, or ``stop`` says so."""
        while True:
            if self._state() != BackfillState.RUNNING:
                return RangeOutcome.STOPPED
            if self._held():
                time.sleep(HELD_FOR)
            elif self._batch():
                return RangeOutcome.FINISHED
            if stop():
                return RangeOutcome.TIME_UP

    @property
    def sizer(self) -> BatchSizer:
        """What the next range begins with."""
        return self._sizer

    @property
    def _size(self) -> int:
        return self._sizer.size if self._limit is None else min(self._limit, self._sizer.size)

    def _state(self) -> str:
        try:
            return (
                BackfillRun.objects.using(self._job.using)
                .values_list("state", flat=True)
                .get(pk=self._job.run.pk)
            )
        except Error as error:
            self._wait(error)
            return BackfillState.RUNNING

    def _held(self) -> bool:
        since = monotonic() - self._ended
        moment = Moment(self._job.using, self._table, self._last_batch, since)
        try:
            reasons = self._job.throttling.reasons(moment)
            if reasons:
                self._lease.write(throttled_by=list(reasons))
        except Error as error:
            self._wait(error)
            return True
        if reasons:
            logger.debug("backfill_throttled", extra={"backfill": self._name, "reasons": reasons})
        return bool(reasons)

    def _batch(self) -> bool:
        """Do the next batch; return whether the range is done."""
        began, self._window = monotonic(), None
        try:
            with transaction.atomic(using=self._job.using):
                count = self._do_batch(began)
        except BackfillError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a backfill raises belongs to a row
            self._failed(error)
            return False
        self._failures = 0
        if count is None:
            return True
        self._after_batch(count, monotonic() - began)
        return False

    def _do_batch(self, began: float) -> int | None:
        job, options = self._job, self._job.options
        set_timeouts(
            job.using,
            {
                "lock_timeout": options.lock_timeout,
                "statement_timeout": options.statement_timeout,
                # A worker that is frozen in its batch must not keep its locks.
                "idle_in_transaction_session_timeout": options.lease,
            },
        )
        window = next_window(self._rows, after=self._cursor, high=self._high, size=self._size)
        if window is None:
            self._lease.write(finished=True, leased_until=None, worker="", throttled_by=[])
            return None
        self._window = window
        count = do_window(job.backfill, window, using=job.using, apps=job.apps)
        if not self._checked and count:
            self._check_done(window, count)
        self._lease.write(
            cursor=key_to_json(window.last),
            done=self._done + count,
            batch_size=self._sizer.size,
            seconds_per_row=self._sizer.seconds_per_row,
            rows_per_second=self._rate(count, began),
            throttled_by=[],
        )
        return count

    def _check_done(self, window: Window, count: int) -> None:
        """Refuse what would never end: rows that still match ``where`` after they were done."""
        self._checked, backfill = True, self._job.backfill
        if backfill.where is None:
            return
        left = window.of(backfill.rows_to_do(self._job.using, self._job.apps))
        if left[: count + 1].count() >= count:
            raise RowFault(
                f"The {count} rows of a batch still match `where` after they were done: write what "
                "makes them stop matching, in a field that `where` looks at."
            )

    def _rate(self, count: int, now: float) -> float | None:
        elapsed = max(monotonic() - self._began, now - self._began)
        return (self._done + count - self._began_with) / elapsed if elapsed > 0 else None

    def _after_batch(self, count: int, seconds: float) -> None:
        window = self._window
        assert window is not None
        self._cursor = window.last
        self._done += count
        self._last_batch, self._ended = seconds, monotonic()
        logger.debug(
            "backfill_batch",
            extra={
                "backfill": self._name,
                "rows": count,
                "batch_size": window.size,
                "duration_ms": round(seconds * 1000, 1),
            },
        )
        if self._limit is not None:
            self._limit = None if self._limit * 2 >= self._sizer.size else self._limit * 2
        elif window.full:
            self._sizer = self._sizer.after_batch(rows=window.size, seconds=seconds)

    # What goes wrong.

    def _failed(self, error: Exception) -> None:
        kind = kind_of(error, self._connection)
        if kind is ErrorKind.HOPELESS:
            raise RowFault(error_line(error)) from error
        if kind is not ErrorKind.ROW:
            self._sizer = self._sizer.after_timeout()
        window = self._window
        if window is not None and kind is not ErrorKind.LOST:
            alone = window.size == 1
            if alone and (kind is ErrorKind.ROW or self._failures >= self._job.options.attempts):
                self._note_row(window, error)
                return
            self._limit = max(1, window.size // 2)
        if window is None or kind is not ErrorKind.ROW:
            self._wait(error)

    def _wait(self, error: Exception) -> None:
        """Wait before the next attempt, on a new connection where the old one is gone."""
        if kind_of(error, self._connection) is ErrorKind.LOST:
            if self._connection.in_atomic_block:
                raise error  # the transaction around us is lost
            self._connection.close()
        self._failures += 1
        delay = backoff(self._failures)
        logger.warning(
            "backfill_retry",
            extra={
                "backfill": self._name,
                "attempt": self._failures,
                "delay_ms": round(delay * 1000),
                "batch_size": self._size,
                "error": error_line(error),
            },
        )
        time.sleep(delay)

    def _note_row(self, window: Window, error: Exception) -> None:
        """Record the row at fault, in one transaction with the step past it, if there is one."""
        run, using = self._job.run, self._job.using
        key, goes_on = key_to_json(window.last), self._job.backfill.on_row_error == "continue"
        after = None if window.after is None else key_to_json(window.after)
        with brief(using):
            BackfillRowError.objects.using(using).create(
                run_id=run.pk, key=key, after=after, skipped=goes_on, error=error_line(error)
            )
            self._lease.write(cursor=key if goes_on else after)
            noted = BackfillRowError.objects.using(using).filter(run_id=run.pk).count()
        self._cursor, self._failures = window.last, 0
        logger.error(
            "backfill_row_failed",
            extra={"backfill": self._name, "key": key, "error": error_line(error)},
        )
        if not goes_on:
            raise RowFault(f"Row {shown_key(key)} can't be done: {error_line(error)}")
        if noted >= self._job.options.max_row_errors:
            raise RowFault(
                f"{noted} rows can't be done; the last, {shown_key(key)}: {error_line(error)}"
            )

    @property
    def _name(self) -> str:
        return self._job.run.name
