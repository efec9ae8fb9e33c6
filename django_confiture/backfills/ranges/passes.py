"""The beginning and the end of a pass over the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import QuerySet
from django.db.models.functions import Now

from django_confiture.backfills import events
from django_confiture.backfills.batching.keys import key_from_json, shown_key
from django_confiture.backfills.batching.windows import between
from django_confiture.backfills.declared.declaration import Backfill
from django_confiture.backfills.models import (
    ENDED,
    BackfillRange,
    BackfillRowError,
    BackfillRun,
    BackfillState,
)
from django_confiture.backfills.ranges.leases import open_ranges, rows_done
from django_confiture.backfills.ranges.planning import (
    add_pass,
    estimated_to_do,
    last_key_of_passes,
    plan_ranges,
)
from django_confiture.backfills.safeguards.transactions import unhurried
from django_confiture.formatting import count

if TYPE_CHECKING:
    from typing import Any

    from django.apps.registry import Apps

MOST_PASSES = 10
"""After so many, rows come faster than they are done, or never stop matching."""


def begin_run(run: BackfillRun, backfill: Backfill, *, using: str, apps: Apps, wanted: int) -> None:
    """Make a queued backfill a running one, with its ranges; a second worker finds it done."""
    with unhurried(using):
        locked = BackfillRun.objects.using(using).select_for_update().get(pk=run.pk)
        if locked.state != BackfillState.QUEUED:
            return
        if not BackfillRange.objects.using(using).filter(run_id=run.pk).exists():
            locked.total = estimated_to_do(backfill, using=using, apps=apps)
            plan_ranges(locked, backfill, using=using, apps=apps, wanted=wanted)
        locked.class_hash = locked.class_hash or backfill.class_hash
        locked.state = BackfillState.RUNNING
        locked.started_at = locked.started_at or Now()
        locked.save(using=using)


def end_pass(
    run: BackfillRun, backfill: Backfill, *, using: str, apps: Apps, actor: str
) -> BackfillState:
    """Complete the backfill, or begin another pass; return the state that it has then.

    It is complete where no row is left to do. Until then rows that were inserted or changed
    meanwhile get a separate pass. Nothing happens while ranges are open.
    """
    with unhurried(using):
        locked = BackfillRun.objects.using(using).select_for_update().get(pk=run.pk)
        if locked.state == BackfillState.RUNNING and not open_ranges(locked, using).exists():
            _next_pass_or_end(locked, backfill, using, apps)
            locked.save(using=using)
            if locked.state in ENDED:
                events.note(locked, locked.state, using=using, actor=actor)
        return BackfillState(locked.state)


def rows_left(
    run: BackfillRun | None, backfill: Backfill, *, using: str, apps: Apps
) -> QuerySet[Any]:
    """Return the rows that match ``where`` and are not known to be at fault."""
    left = backfill.rows_to_do(using, apps)
    if backfill.where is None:
        return left.none()
    if run is not None and (keys := _keys_at_fault(run, backfill, using, apps)):
        left = left.exclude(pk__in=keys)
    return left


def _next_pass_or_end(run: BackfillRun, backfill: Backfill, using: str, apps: Apps) -> None:
    if backfill.where is None:
        # Rows may come forever, and none of them shows that it is done.
        left = run.pass_number < MOST_PASSES and _any_behind(run, backfill, using, apps)
    else:
        left = rows_left(run, backfill, using=using, apps=apps).exists()
    if left and (why := _why_no_other_pass(run)):
        _end(run, using, BackfillState.FAILED, why)
    elif left:
        run.pass_number += 1
        add_pass(run, backfill, using=using, apps=apps)
    elif errors := BackfillRowError.objects.using(using).filter(run_id=run.pk):
        first = errors[0]
        rows = count(errors.count(), "row")
        why = f"{rows} can't be done; the first, {shown_key(first.key)}: {first.error}"
        _end(run, using, BackfillState.FAILED, why)
    else:
        _end(run, using, BackfillState.COMPLETED, "")


def _any_behind(run: BackfillRun, backfill: Backfill, using: str, apps: Apps) -> bool:
    """Return whether rows were inserted behind the last key that a pass has reached."""
    reached = last_key_of_passes(run, using)
    after = None if reached is None else key_from_json(backfill.model_in(apps), reached)
    return between(backfill.rows(using, apps), after, None).exists()


def _why_no_other_pass(run: BackfillRun) -> str:
    if run.pass_number >= MOST_PASSES:
        return (
            f"After {MOST_PASSES} passes rows still match `where`: either what the backfill writes "
            "doesn't make them stop matching, or rows come faster than they are done. Deploy code "
            "that fills new rows, or set mirror = True, then retry."
        )
    return ""


def _end(run: BackfillRun, using: str, state: BackfillState, why: str) -> None:
    run.state, run.last_error, run.finished_at = state, why, Now()
    if state == BackfillState.COMPLETED:
        run.total = rows_done(run, using)


def _keys_at_fault(run: BackfillRun, backfill: Backfill, using: str, apps: Apps) -> list[Any]:
    model = backfill.model_in(apps)
    errors = BackfillRowError.objects.using(using).filter(run_id=run.pk)
    return [key_from_json(model, key) for key in errors.values_list("key", flat=True)]
