"""The status of each backfill, as the command and the admin show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import models
from django.db.models import Count, Max, Q, Sum
from django.db.models.functions import Now

from django_confiture.backfills.models import BackfillRange, BackfillRun, BackfillState


@dataclass(frozen=True)
class BackfillStatus:
    """One backfill; ``dataclasses.asdict`` is the JSON of ``confiture_backfills list``."""

    name: str
    state: str
    done: int
    """Rows."""
    total: int | None
    """Rows: an estimate until the backfill is complete; None before it has begun."""
    percent: float | None
    rows_per_second: float | None
    """None while no worker is at it."""
    remaining_seconds: float | None
    batch_size: int | None
    workers: int
    throttled_by: list[str]
    last_error: str | None
    started_at: datetime | None
    finished_at: datetime | None


def statuses(using: str, names: list[str] | None = None) -> list[BackfillStatus]:
    """Return every backfill of a database, or those with these names."""
    runs = BackfillRun.objects.using(using).all()
    if names is not None:
        runs = runs.filter(name__in=names)
    return [status_of(run, using) for run in runs]


def status_of(run: BackfillRun, using: str) -> BackfillStatus:
    """Return the status of one backfill."""
    ranges = BackfillRange.objects.using(using).filter(run_id=run.pk)
    live = Q(finished=False, leased_until__gte=Now())
    facts = ranges.aggregate(
        rows=Sum("done"),
        workers=Count("pk", filter=live),
        rate=Sum("rows_per_second", filter=live),
        size=Max("batch_size", filter=live),
    )
    done = facts["rows"] or 0
    completed = run.state == BackfillState.COMPLETED
    total = run.total if run.total is None or completed else max(run.total, done)
    rate = facts["rate"] or None
    return BackfillStatus(
        name=run.name,
        state=run.state,
        done=done,
        total=total,
        percent=_percent(done, total, completed=completed),
        rows_per_second=None if rate is None else round(rate, 1),
        remaining_seconds=_remaining(done, total, rate, completed=completed),
        batch_size=facts["size"],
        workers=facts["workers"],
        throttled_by=_throttled_by(ranges.filter(live)),
        last_error=run.last_error or None,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )


def _percent(done: int, total: int | None, *, completed: bool) -> float | None:
    if completed:
        return 100.0
    if not total:
        return None if total is None else 0.0
    return min(99.9, round(100 * done / total, 1))


def _remaining(
    done: int, total: int | None, rate: float | None, *, completed: bool
) -> float | None:
    if completed:
        return 0.0
    if total is None or rate is None:
        return None
    return round((total - done) / rate, 1)


def _throttled_by(live: models.QuerySet[BackfillRange]) -> list[str]:
    return sorted({name for names in live.values_list("throttled_by", flat=True) for name in names})
