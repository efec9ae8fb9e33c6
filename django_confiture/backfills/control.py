"""Actions on a backfill: start, pause, resume, cancel, retry. Each leaves an audit event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.apps import apps as live_apps
from django.core.exceptions import FieldError
from django.db import DatabaseError
from psycopg.errors import UndefinedColumn, UndefinedTable

from django_confiture.backfills import events, queueing
from django_confiture.backfills.declared.class_changes import BackfillChanged, has_changed, why
from django_confiture.backfills.declared.declaration import Backfill, load_backfill
from django_confiture.backfills.models import (
    BackfillRange,
    BackfillRowError,
    BackfillRun,
    BackfillState,
)
from django_confiture.backfills.options import backfill_options
from django_confiture.backfills.ranges.planning import add_pass
from django_confiture.backfills.safeguards import mirror
from django_confiture.backfills.safeguards.transactions import brief
from django_confiture.exceptions import BackfillError, BackfillLookupError
from django_confiture.formatting import listed, one_line

if TYPE_CHECKING:
    from django.apps.registry import Apps

S = BackfillState

_NOT_THERE = (UndefinedColumn, UndefinedTable)
_LOCK_TIMEOUT = timedelta(seconds=2)


@dataclass(frozen=True)
class _Transition:
    """Which states an action is allowed in, and which state it leads to."""

    allowed: tuple[BackfillState, ...]
    becomes: BackfillState
    queues: bool = False
    """Whether tasks are queued."""


_TRANSITIONS: Mapping[str, _Transition] = {
    "pause": _Transition((S.QUEUED, S.RUNNING), S.PAUSED),
    "resume": _Transition((S.PAUSED,), S.QUEUED, queues=True),
    "cancel": _Transition((S.QUEUED, S.RUNNING, S.PAUSED, S.FAILED), S.CANCELLED),
    "retry": _Transition((S.FAILED, S.CANCELLED), S.QUEUED, queues=True),
}

ACTIONS = ("start", *_TRANSITIONS)


def start(name: str, *, using: str, actor: str) -> str:
    """Hand a backfill to the Tasks framework; return what came of it.

    One that is queued or running gets its tasks again, which does no harm: more than are wanted
    end by themselves. Refused where a column that it reads or writes is not there yet.
    """
    _check_columns(load_backfill(name), using)
    run = prepare(name, using=using, actor=actor)
    return queueing.enqueue(run, using=using)


def _check_columns(backfill: Backfill, using: str) -> None:
    """Refuse what a worker could not ask for; where that can't be asked now, a worker will see."""
    changed = dict.fromkeys(["pk", *(backfill.values or ()), *backfill.fields])
    try:
        with brief(using, {"lock_timeout": _LOCK_TIMEOUT}):
            backfill.rows_to_do(using).values(*changed).explain()
    except (FieldError, DatabaseError) as error:
        if isinstance(error, DatabaseError) and not isinstance(error.__cause__, _NOT_THERE):
            return
        raise BackfillError(
            f"{backfill.path()} can't ask for its rows: {one_line(error)} "
            "Apply the migration that adds what is missing before you start it."
        ) from error


def prepare(name: str, *, using: str, actor: str, apps: Apps = live_apps) -> BackfillRun:
    """Make sure that a backfill is queued or running; return it.

    What has ended goes on where it was: no row is done again. One that was completed does what
    came since.
    """
    backfill = load_backfill(name)
    with brief(using):
        runs = BackfillRun.objects.using(using)
        run, made = runs.select_for_update().get_or_create(
            name=name, defaults={"workers_wanted": backfill_options().workers}
        )
        if run.state == S.PAUSED:
            raise BackfillError(f"{name} is paused; use resume.")
        detail = ""
        if has_changed(run, backfill):
            if run.state in (S.QUEUED, S.RUNNING):
                raise BackfillChanged(why(run))
            detail = _begin_again(run, backfill, using)
        elif run.state == S.COMPLETED:
            run.pass_number = 2
            add_pass(run, backfill, using=using, apps=apps)
        elif run.state in (S.FAILED, S.CANCELLED):
            _reopen(run, using)
        if made or run.state not in (S.QUEUED, S.RUNNING):
            run.state, run.last_error, run.finished_at = S.QUEUED, "", None
            run.save(using=using)
            events.note(run, "start", using=using, actor=actor, detail=detail)
    return run


def forget(name: str, *, using: str, actor: str) -> None:
    """Cancel a backfill, whatever its state, and forget what is done: its column is going."""
    with brief(using):
        run = BackfillRun.objects.using(using).select_for_update().filter(name=name).first()
        if run is None:
            return
        _clear(run, using)
        run.state, run.last_error, run.class_hash = S.CANCELLED, "", ""
        run.save(using=using)
        events.note(run, "forget", using=using, actor=actor)
    mirror.remove(run, using=using)


def act(action: str, name: str, *, using: str, actor: str) -> str:
    """Pause, resume, cancel or retry a backfill; return what came of it."""
    transition = _TRANSITIONS[action]
    with brief(using):
        run = BackfillRun.objects.using(using).select_for_update().filter(name=name).first()
        if run is None:
            raise BackfillError(f"{name} was never started; use start.")
        if run.state not in transition.allowed:
            allowed = listed([state.value for state in transition.allowed], word="or")
            raise BackfillError(f"{name} is {run.state}; {action} is for one that is {allowed}.")
        detail = _change(run, transition, action, using)
        events.note(run, action, using=using, actor=actor, detail=detail)
    if action == "cancel":
        mirror.remove(run, using=using)
    return queueing.enqueue(run, using=using) if transition.queues else f"{name} is {run.state}."


def perform(action: str, name: str, *, using: str, actor: str) -> str:
    """Perform one of :data:`ACTIONS`."""
    if action == "start":
        return start(name, using=using, actor=actor)
    return act(action, name, using=using, actor=actor)


def _change(run: BackfillRun, transition: _Transition, action: str, using: str) -> str:
    """Change the state; return what else there is to say of it."""
    run.state, detail = transition.becomes, ""
    if action == "retry":
        backfill = _loaded(run.name)
        if backfill is not None and has_changed(run, backfill):
            detail = _begin_again(run, backfill, using)
        else:
            _reopen(run, using)
        run.last_error, run.finished_at = "", None
    run.save(using=using)
    return detail


def _loaded(name: str) -> Backfill | None:
    """Return the class; None in a process that lacks it, which may still ask workers to retry."""
    try:
        return load_backfill(name)
    except BackfillLookupError:
        return None


def _begin_again(run: BackfillRun, backfill: Backfill, using: str) -> str:
    """Let the backfill begin at the first key, with the class as it is now."""
    mirror.remove(run, using=using)  # it fills as the old class said
    _clear(run, using)
    run.class_hash, run.mirrored = backfill.class_hash, False
    return "Its class has changed, so it begins again at the first key."


def _clear(run: BackfillRun, using: str) -> None:
    """Forget what is done; a worker that is still at it finds its range gone."""
    BackfillRange.objects.using(using).filter(run_id=run.pk).delete()
    BackfillRowError.objects.using(using).filter(run_id=run.pk).delete()
    run.pass_number, run.total, run.started_at, run.finished_at = 1, None, None, None


def _reopen(run: BackfillRun, using: str) -> None:
    """Give each row that was skipped a separate range; what is done stays done."""
    ranges = BackfillRange.objects.using(using)
    last = ranges.filter(run_id=run.pk).order_by("position").last()
    position = 0 if last is None else last.position + 1
    errors = BackfillRowError.objects.using(using).filter(run_id=run.pk)
    ranges.bulk_create(
        BackfillRange(
            run_id=run.pk,
            position=number,
            pass_number=0,
            low=error.after,
            high=error.key,
            cursor=error.after,
        )
        for number, error in enumerate(errors.filter(skipped=True), start=position)
    )
    errors.delete()
    run.pass_number = max(1, run.pass_number - 1)  # so that a last one follows
