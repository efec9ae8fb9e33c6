"""Starts, requires and cancels a backfill in a migration, for the operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models.functions import Now

from django_confiture.backfills import control, events, queueing
from django_confiture.backfills.declared.declaration import Backfill, load_backfill
from django_confiture.backfills.forecasting.forecast import Rehearsing, outlook_in
from django_confiture.backfills.models import BackfillRun, BackfillState
from django_confiture.backfills.options import backfill_options
from django_confiture.backfills.ranges.passes import rows_left
from django_confiture.backfills.ranges.range_worker import Job
from django_confiture.backfills.runner import Runner
from django_confiture.backfills.safeguards import mirror
from django_confiture.backfills.safeguards.row_security import why_rows_are_hidden
from django_confiture.exceptions import BackfillRefusal

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.base import BaseDatabaseWrapper

MOST_COUNTED = 100_000
"""Rows left are counted up to here: a refusal must not read a whole table."""

_TIMEOUTS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


def start(name: str, connection: BaseDatabaseWrapper, apps: Apps) -> None:
    """Note that a backfill is to start, and queue it: in the same transaction, or after it."""
    using, actor = connection.alias, events.os_actor()
    with transaction.atomic(using=using):
        run = control.prepare(name, using=using, actor=actor, apps=apps)
        if why := why_rows_are_hidden(load_backfill(name), using=using, apps=apps):
            raise BackfillRefusal(f"Backfill {name} can't be started. {why}")
        if not load_backfill(name).rows(using, apps).exists():
            _complete_empty(run, using, actor)
            return
        rehearsal: Rehearsing | None = getattr(connection, "_confiture_rehearsal", None)
        if rehearsal is not None:
            outlook = outlook_in(rehearsal, load_backfill(name), using=using, apps=apps)
            rehearsal.note_backfill(outlook)
        elif queueing.is_table_in(using):
            queueing.enqueue_and_log(run, using=using)  # a kill after the commit loses no task
        else:
            queued = partial(queueing.enqueue_and_log, run, using=using)
            transaction.on_commit(queued, using=using)


def cancel(name: str, connection: BaseDatabaseWrapper) -> None:
    """Cancel a backfill, and forget it: forward again, it begins from the beginning."""
    control.forget(name, using=connection.alias, actor=events.os_actor())


def require(name: str, connection: BaseDatabaseWrapper, apps: Apps, *, finish: bool) -> None:
    """Refuse unless the backfill is complete and no row is left to do."""
    using, backfill = connection.alias, load_backfill(name)
    if why := why_rows_are_hidden(backfill, using=using, apps=apps):
        raise BackfillRefusal(f"Backfill {name} can't be checked. {why}")
    run = BackfillRun.objects.using(using).filter(name=name).first()
    if not backfill.rows(using, apps).exists():
        return  # a new database
    if finish and not _is_complete(run, backfill, using, apps):
        finish_in_place(name, connection, apps)
        run = BackfillRun.objects.using(using).get(name=name)
    left = rows_left(None, backfill, using=using, apps=apps)[: MOST_COUNTED + 1].count()
    if run is not None and run.state == BackfillState.COMPLETED and not left:
        mirror.remove(run, using=using)  # of a worker that was killed at the end
        return
    raise BackfillRefusal(_refusal(name, run, left))


def finish_in_place(name: str, connection: BaseDatabaseWrapper, apps: Apps) -> BackfillRun:
    """Run what is left of a backfill on this connection, in its transaction where it has one."""
    using = connection.alias
    run = BackfillRun.objects.using(using).filter(name=name).first()
    if run is not None and run.state == BackfillState.PAUSED:
        BackfillRun.objects.using(using).filter(pk=run.pk).update(state=BackfillState.QUEUED)
    run = control.prepare(name, using=using, actor=events.os_actor(), apps=apps)
    with _own_timeouts(connection):
        Runner(Job(run, load_backfill(name), using, backfill_options(), apps)).complete()
    run.refresh_from_db(using=using)
    return run


def _is_complete(run: BackfillRun | None, backfill: Backfill, using: str, apps: Apps) -> bool:
    completed = run is not None and run.state == BackfillState.COMPLETED
    return completed and not rows_left(None, backfill, using=using, apps=apps).exists()


def _complete_empty(run: BackfillRun, using: str, actor: str) -> None:
    BackfillRun.objects.using(using).filter(pk=run.pk).update(
        state=BackfillState.COMPLETED, total=0, started_at=Now(), finished_at=Now()
    )
    events.note(run, "completed", using=using, actor=actor, detail="The table is empty.")


def _refusal(name: str, run: BackfillRun | None, left: int) -> str:
    rows = f"{left:,} rows are" if left != 1 else "1 row is"
    if left > MOST_COUNTED:
        rows = f"more than {MOST_COUNTED:,} rows are"
    state = "was never started" if run is None else f"is {run.state}"
    why = f" ({run.last_error})" if run is not None and run.last_error else ""
    verb = "run" if run is None else _NEXT.get(BackfillState(run.state), "run")
    return (
        f"Backfill {name} {state}{why}, and {rows} left to do. "
        f"Run manage.py confiture_backfills {verb} {name}, then migrate again; "
        "or write RequireBackfill(..., finish=True)."
    )


_NEXT = {
    BackfillState.PAUSED: "resume",
    BackfillState.FAILED: "retry",
    BackfillState.CANCELLED: "retry",
}


@contextmanager
def _own_timeouts(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Put back what batches set for the rest of the transaction around them."""
    if not connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in _TIMEOUTS))
        before = cursor.fetchone()
    yield
    with connection.cursor() as cursor:
        for name, value in zip(_TIMEOUTS, before, strict=True):
            cursor.execute("SELECT pg_catalog.set_config(%s, %s, true)", [name, value])
