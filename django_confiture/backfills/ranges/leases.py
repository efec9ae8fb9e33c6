"""Leases on ranges: who works on which, fenced by a generation number.

All times are the server's. A worker whose lease ran out may still commit as long as no one has
taken its range; from then on its generation is too old, and its batch is rolled back.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from django_confiture.backfills.batching.batch_sizer import BatchSizer
from django_confiture.backfills.models import BackfillRange, BackfillRun
from django_confiture.backfills.options import BackfillOptions
from django_confiture.backfills.safeguards.transactions import brief
from django_confiture.exceptions import BackfillError


class LeaseLost(BackfillError):  # noqa: N818 - nothing is wrong with the backfill
    """Another worker has taken the range over."""


@dataclass(frozen=True)
class Lease:
    """A worker's hold on a range."""

    using: str
    range_id: int
    generation: int
    duration: timedelta

    def write(self, **changes: Any) -> None:
        """Change the range and renew the lease; :class:`LeaseLost` where another worker has it."""
        changes = {"leased_until": Now() + self.duration, **changes}
        held = BackfillRange.objects.using(self.using).filter(
            pk=self.range_id, generation=self.generation
        )
        if not held.update(**changes):
            raise LeaseLost("Another worker has taken the range over.")

    def release(self) -> None:
        """Give the range back, where it is still held."""
        BackfillRange.objects.using(self.using).filter(
            pk=self.range_id, generation=self.generation
        ).update(leased_until=None, worker="", throttled_by=[])


def new_worker_name() -> str:
    """Return a name that no other worker has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"


def claim(run: BackfillRun, *, using: str, worker: str, duration: timedelta) -> Lease | None:
    """Take a lease on a range that no worker has; None if there is none.

    What ``worker`` itself still has is left from a connection that was lost.
    """
    with brief(using):
        stale = [worker, *_gone(run, using)]
        free = Q(leased_until=None) | Q(leased_until__lt=Now()) | Q(worker__in=stale)
        ranges = open_ranges(run, using).filter(free)
        found = (
            ranges.select_for_update(skip_locked=True, of=("self",)).order_by("position").first()
        )
        if found is None:
            return None
        generation = found.generation + 1
        BackfillRange.objects.using(using).filter(pk=found.pk).update(
            generation=generation,
            worker=worker,
            leased_until=Now() + duration,
            throttled_by=[],
        )
    return Lease(using, found.pk, generation, duration)


def _gone(run: BackfillRun, using: str) -> list[str]:
    """Return workers of this host whose process has ended: their leases need not run out.

    Were one of them alive after all, its generation would be too old, as that of any other.
    """
    workers = live_leases(run, using).values_list("worker", flat=True)
    return [worker for worker in workers if _has_ended(worker)]


def _has_ended(worker: str) -> bool:
    host, _, rest = worker.rpartition(":")[0].rpartition(":")
    if host != socket.gethostname() or not rest.isdecimal():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def known_sizer(
    run: BackfillRun, options: BackfillOptions, *, using: str, most: int | None
) -> BatchSizer:
    """Return the sizer after the latest batch of any worker; none has more rows than ``most``."""
    ranges = BackfillRange.objects.using(using).filter(run_id=run.pk, batch_size__isnull=False)
    latest = ranges.order_by(F("leased_until").desc(nulls_last=True), "-position").first()
    if latest is None:
        return options.sizer(most=most)
    return options.sizer(size=latest.batch_size, seconds_per_row=latest.seconds_per_row, most=most)


def live_leases(run: BackfillRun, using: str) -> models.QuerySet[BackfillRange]:
    """Return the ranges that a worker is at."""
    return open_ranges(run, using).filter(leased_until__gte=Now())


def open_ranges(run: BackfillRun, using: str) -> models.QuerySet[BackfillRange]:
    """Return the ranges that are not done."""
    return BackfillRange.objects.using(using).filter(run_id=run.pk, finished=False)


def rows_done(run: BackfillRun, using: str) -> int:
    """Return how many rows are done."""
    ranges = BackfillRange.objects.using(using).filter(run_id=run.pk)
    return ranges.aggregate(sum=models.Sum(F("done")))["sum"] or 0
