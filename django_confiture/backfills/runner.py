"""A worker on one backfill: takes ranges until none is left, then begins the next pass or ends.

Each batch is one transaction::

    BEGIN
      lock_timeout, statement_timeout, idle_in_transaction_session_timeout
      SELECT the key that ends the batch
      UPDATE the rows
      UPDATE the range: cursor, rows done, lease … WHERE generation = ours
    COMMIT

so that what was done and the note of it become true together, or not at all. The worker that a
range was taken from finds no row to update in the last step, and its batch is rolled back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

from django.db import Error, InterfaceError, OperationalError, connections

from django_confiture.backfills import events
from django_confiture.backfills.batching.batch_sizer import BatchSizer
from django_confiture.backfills.declared.class_changes import refuse_changed
from django_confiture.backfills.error_kinds import ErrorKind, RowFault, backoff, kind_of
from django_confiture.backfills.models import ENDED, BackfillRun, BackfillState
from django_confiture.backfills.ranges.leases import (
    Lease,
    LeaseLost,
    claim,
    known_sizer,
    new_worker_name,
    open_ranges,
)
from django_confiture.backfills.ranges.passes import begin_run, end_pass
from django_confiture.backfills.ranges.planning import RANGES_A_WORKER, rows_in_memory
from django_confiture.backfills.ranges.range_worker import Job, RangeOutcome, RangeWorker
from django_confiture.backfills.safeguards import mirror
from django_confiture.backfills.safeguards.row_security import why_rows_are_hidden
from django_confiture.formatting import error_line

logger = logging.getLogger("django_confiture.backfills")

IDLE = 0.1
"""Seconds between two tries to get a range while other workers have them all."""


class WorkOutcome(Enum):
    """How a worker's turn ended."""

    ENDED = "ended"
    """The backfill is completed, failed, paused or cancelled."""
    TIME_UP = "time up"
    WAITS = "waits"
    """Other workers have all the ranges; one of them may die."""
    REPLACED = "replaced"
    """Another worker took over what this one was doing."""


class Runner:
    """Works on one backfill in this process."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker = new_worker_name()
        self._sizer: BatchSizer | None = None
        self._failures = 0
        self._state_at_end: BackfillState | None = None

    def complete(self, *, stop: Callable[[], bool] = lambda: False) -> BackfillState | None:
        """Work until the backfill has ended, together with whatever other workers there are.

        Return how it ended, which another process may have changed again by now; None where
        ``stop`` came first.
        """
        while not stop():
            if self.work(stop=stop) is WorkOutcome.ENDED:
                return self._state_at_end
            time.sleep(IDLE)
        return None

    def work(self, *, stop: Callable[[], bool]) -> WorkOutcome:
        """Work until ``stop`` says so, or there is nothing to do.

        What fails between two batches is tried again as often as a batch, and has to be safe to
        repeat: a connection may be lost with the answer to a COMMIT.
        """
        self._failures, hopeless = 0, ""
        while True:
            try:
                if hopeless:
                    self._fail(hopeless)
                return self._work(stop)
            except Error as error:
                hopeless = self._wait(error, hopeless)

    def _wait(self, error: Error, hopeless: str) -> str:
        """Wait for the next attempt; return why there is none for the backfill, if so."""
        job, connection = self._job, connections[self._job.using]
        kind = kind_of(error, connection)
        self._failures += 1
        if kind in (ErrorKind.HOPELESS, ErrorKind.ROW) and not hopeless:
            return error_line(error)
        again = kind in (ErrorKind.BUSY, ErrorKind.LOST) and not connection.in_atomic_block
        if not again or self._failures >= job.options.attempts:
            raise error
        if kind is ErrorKind.LOST:
            connection.close()
        delay = backoff(self._failures)
        retry = {"attempt": self._failures, "delay_ms": round(delay * 1000)}
        facts = {"backfill": job.run.name, **retry, "batch_size": None, "error": error_line(error)}
        logger.warning("backfill_retry", extra=facts)
        time.sleep(delay)
        return hopeless

    def _work(self, stop: Callable[[], bool]) -> WorkOutcome:
        job = self._job
        if why := why_rows_are_hidden(job.backfill, using=job.using, apps=job.apps):
            self._fail(why)
            self._state_at_end = BackfillState.FAILED
            return WorkOutcome.ENDED
        refuse_changed(job.run, job.backfill, using=job.using)
        mirror.install(job.run, job.backfill, using=job.using)
        begin_run(
            job.run,
            job.backfill,
            using=job.using,
            apps=job.apps,
            wanted=RANGES_A_WORKER * job.options.workers,
        )
        refuse_changed(job.run, job.backfill, using=job.using)  # another may have begun it
        state = self._state()
        while state == BackfillState.RUNNING:
            lease = claim(job.run, using=job.using, worker=self._worker, duration=job.options.lease)
            if lease is None:
                if open_ranges(job.run, job.using).exists():
                    return WorkOutcome.WAITS
                state = end_pass(
                    job.run, job.backfill, using=job.using, apps=job.apps, actor=self._worker
                )
            else:
                try:
                    if self._on_range(lease, stop) is RangeOutcome.TIME_UP:
                        return WorkOutcome.TIME_UP
                except LeaseLost:
                    logger.warning("backfill_lease_lost", extra={"backfill": job.run.name})
                    return WorkOutcome.REPLACED
                state = self._state()
            self._failures = 0
        if state in ENDED:  # also where the worker that ended it could not
            mirror.remove(job.run, using=job.using)
        self._state_at_end = state
        return WorkOutcome.ENDED

    def _on_range(self, lease: Lease, stop: Callable[[], bool]) -> RangeOutcome:
        job = self._job
        sizer = self._sizer or self._first_sizer()
        worker = RangeWorker(job, lease, sizer)
        try:
            return worker.work(stop=stop)
        except RowFault as fault:
            self._fail(str(fault))
            return RangeOutcome.STOPPED
        finally:
            self._sizer = worker.sizer
            with suppress(OperationalError, InterfaceError):  # then the lease runs out by itself
                lease.release()

    def _first_sizer(self) -> BatchSizer:
        job = self._job
        most = rows_in_memory(job.backfill, using=job.using, apps=job.apps)
        return known_sizer(job.run, job.options, using=job.using, most=most)

    def _fail(self, why: str) -> None:
        events.fail(self._job.run, why, using=self._job.using, actor=self._worker)

    def _state(self) -> BackfillState:
        runs = BackfillRun.objects.using(self._job.using)
        return BackfillState(runs.values_list("state", flat=True).get(pk=self._job.run.pk))
