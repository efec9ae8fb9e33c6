"""The task: work for at most a minute, then queue the next one, so that no queue is held.

As many chains of tasks go on as there are workers wanted. Before a task works, it queues its
successor for a time at which it should have ended: so the chain goes on if its worker is killed,
at whatever moment. Where the backend can't run a task later, the tasks of the other chains do that.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import django
from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from django_confiture.backfills import events
from django_confiture.backfills.chains import Link, overdue, take
from django_confiture.backfills.declared.class_changes import BackfillChanged
from django_confiture.backfills.declared.declaration import load_backfill
from django_confiture.backfills.models import BackfillRun, BackfillState
from django_confiture.backfills.options import BackfillOptions, backfill_options
from django_confiture.backfills.ranges.range_worker import Job
from django_confiture.backfills.runner import Runner, WorkOutcome
from django_confiture.backfills.safeguards.transactions import brief
from django_confiture.backfills.throttles.configured import throttling_of
from django_confiture.exceptions import BackfillError, BackfillLookupError
from django_confiture.formatting import error_line

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task

logger = logging.getLogger("django_confiture.backfills")

NOT_NOW = timedelta(seconds=30)
"""Until a task is tried again whose worker lacks the class, or has lost the database."""
MOST_TRIES = 1000
TRIES_IF_CHANGED = 20
"""Until then, workers of the release before may be there; ten minutes."""


@task
def work_on_backfill(name: str, using: str, number: int, generation: int, tries: int = 0) -> str:
    """Work on a backfill for a while; return how it ended."""
    link = Link(number, generation)
    try:
        run = BackfillRun.objects.using(using).filter(name=name).first()
        if run is None or run.state not in (BackfillState.QUEUED, BackfillState.RUNNING):
            return "ended"
        taken = _begin(run, link, using, tries)
        if taken is None:
            return "replaced"
        link = taken
        return _work(run, link, using, tries)
    except (OperationalError, InterfaceError) as error:
        if tries >= MOST_TRIES:
            raise
        facts = {"backfill": name, "error": error_line(error)}
        logger.warning("backfill_task_lost", extra=facts)
        connections[using].close()
        _hand_on(name, using, link, tries)  # raises, too, where the queue is in the same database
        return "lost"


def _begin(run: BackfillRun, link: Link, using: str, tries: int) -> Link | None:
    """Take the link, and queue what goes on if this worker dies, and what others have lost."""
    options = backfill_options()
    with brief(using):  # so that no link is taken without a spare for the next
        taken = take(link, run, using=using)
        if taken is None:
            return None
        enqueue_spare(run.name, taken, using=using, options=options, tries=tries)
    for lost in overdue(run, using=using, after=_late(options)):
        enqueue_link(run.name, lost, using=using)
    return taken


def _work(run: BackfillRun, link: Link, using: str, tries: int) -> str:
    try:
        backfill = load_backfill(run.name)
    except BackfillLookupError as error:
        return _leave_to_others(run, link, using, tries, error)
    options = backfill_options()
    throttling = throttling_of(backfill, options)
    runner = Runner(Job(run, backfill, using, options, throttling=throttling))
    end = monotonic() + options.slice.total_seconds()
    try:
        outcome = runner.work(stop=lambda: monotonic() >= end)
    except BackfillChanged as error:
        return _leave_to_others(run, link, using, tries, error)
    _queue_next(run, link, outcome, using, options)
    return outcome.value


def _late(options: BackfillOptions) -> timedelta:
    """Return how long after it was queued a task must have started, worked and queued the next."""
    return options.slice + options.lease


def configured_task() -> Any:
    """Return the task for the backend and the queue that the settings name."""
    options = backfill_options()
    return work_on_backfill.using(backend=options.task_backend, queue_name=options.queue)


def enqueue_link(
    name: str, link: Link, *, using: str, delay: timedelta | None = None, tries: int = 0
) -> None:
    """Queue one task, after ``delay`` where the backend knows how to wait."""
    queued = configured_task()
    if delay is not None and queued.get_backend().supports_defer:
        queued = queued.using(run_after=timezone.now() + delay)
    queued.enqueue(name, using, link.number, link.generation, tries)


def enqueue_spare(
    name: str, link: Link, *, using: str, options: BackfillOptions, tries: int = 0
) -> None:
    """Queue one task for later, which finds its link taken unless the one before it is lost."""
    if can_wait():
        enqueue_link(name, link, using=using, delay=_late(options), tries=tries)


def can_wait() -> bool:
    """Return whether the backend knows how to run a task later."""
    return bool(configured_task().get_backend().supports_defer)


def _queue_next(
    run: BackfillRun, link: Link, outcome: WorkOutcome, using: str, options: BackfillOptions
) -> None:
    if outcome is WorkOutcome.WAITS:
        if not can_wait():
            sleep(min(options.lease, options.slice).total_seconds() / 2)
        enqueue_link(run.name, link, using=using, delay=options.lease / 2)
    elif outcome is not WorkOutcome.ENDED:
        enqueue_link(run.name, link, using=using)


def _leave_to_others(
    run: BackfillRun, link: Link, using: str, tries: int, error: BackfillError
) -> str:
    """Hand the task on: a worker of another release will know the class, or have it as it was."""
    changed = isinstance(error, BackfillChanged)
    event = "backfill_changed" if changed else "backfill_not_deployed"
    logger.warning(event, extra={"backfill": run.name, "error": str(error)})
    if tries >= (TRIES_IF_CHANGED if changed else MOST_TRIES):
        events.fail(run, str(error), using=using, actor=events.os_actor())
        return "failed"
    if changed:
        BackfillRun.objects.using(using).filter(pk=run.pk).update(last_error=str(error))
    _hand_on(run.name, using, link, tries)
    return "left to others"


def _hand_on(name: str, using: str, link: Link, tries: int) -> None:
    if not can_wait():
        sleep(1)
    enqueue_link(name, link, using=using, delay=NOT_NOW, tries=tries + 1)
