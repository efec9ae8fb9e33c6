"""The task: work for at most a minute, then queue the next one, so that no queue is held.

As many chains of tasks go on as there are workers wanted. A chain ends where the backfill has
ended, where there are enough others, or where another worker took its range over; that one starts
a chain in its place.
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
from django_confiture.backfills.declaration import load_backfill
from django_confiture.backfills.error_kinds import one_line
from django_confiture.backfills.models import BackfillRun, BackfillState
from django_confiture.backfills.options import BackfillOptions, backfill_options
from django_confiture.backfills.runner import Runner, WorkOutcome, WorkResult
from django_confiture.backfills.throttles.configured import throttling_of
from django_confiture.exceptions import BackfillLookupError

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task

logger = logging.getLogger("django_confiture.backfills")

NOT_NOW = timedelta(seconds=30)
"""Until a task is tried again whose worker lacks the class, or has lost the database."""
MOST_TRIES = 1000


@task
def work_on_backfill(name: str, using: str, tries: int = 0) -> str:
    """Work on a backfill for a while; return how it ended."""
    try:
        return _work(name, using, tries)
    except (OperationalError, InterfaceError) as error:
        if tries >= MOST_TRIES:
            raise
        facts = {"backfill": name, "error": one_line(error)}
        logger.warning("backfill_task_lost", extra=facts)
        connections[using].close()
        _hand_on(name, using, tries)  # raises, too, where the queue is in the same database
        return "lost"


def _work(name: str, using: str, tries: int) -> str:
    run = BackfillRun.objects.using(using).filter(name=name).first()
    if run is None or run.state not in (BackfillState.QUEUED, BackfillState.RUNNING):
        return "ended"
    try:
        backfill = load_backfill(name)
    except BackfillLookupError as error:
        return _leave_to_others(run, using, tries, error)
    options = backfill_options()
    runner = Runner(
        run, backfill, using=using, options=options, throttling=throttling_of(backfill, options)
    )
    end = monotonic() + options.slice.total_seconds()
    result = runner.work(stop=lambda: monotonic() >= end, workers=run.workers_wanted)
    _queue_next(run, result, using, options)
    return result.outcome.value


def configured_task() -> Any:
    """Return the task for the backend and the queue that the settings name."""
    options = backfill_options()
    return work_on_backfill.using(backend=options.task_backend, queue_name=options.queue)


def enqueue_next(name: str, *, using: str, delay: timedelta | None = None, tries: int = 0) -> None:
    """Queue one task, after ``delay`` where the backend knows how to wait."""
    queued = configured_task()
    if delay is not None and queued.get_backend().supports_defer:
        queued = queued.using(run_after=timezone.now() + delay)
    queued.enqueue(name, using, tries)


def can_wait() -> bool:
    """Return whether the backend knows how to run a task later."""
    return bool(configured_task().get_backend().supports_defer)


def _queue_next(run: BackfillRun, result: WorkResult, using: str, options: BackfillOptions) -> None:
    if result.outcome is WorkOutcome.TIME_UP:
        enqueue_next(run.name, using=using)
    elif result.outcome is WorkOutcome.WAITS:
        if not can_wait():
            sleep(min(options.lease, options.slice).total_seconds() / 2)
        enqueue_next(run.name, using=using, delay=options.lease / 2)
    if result.outcome is not WorkOutcome.ENDED:
        for _ in range(result.taken_over):
            enqueue_next(run.name, using=using)


def _leave_to_others(run: BackfillRun, using: str, tries: int, error: BackfillLookupError) -> str:
    """Hand the task on: a worker of the new release will know the class."""
    logger.warning("backfill_not_deployed", extra={"backfill": run.name, "error": str(error)})
    if tries >= MOST_TRIES:
        events.fail(run, str(error), using=using, actor=events.os_actor())
        return "failed"
    _hand_on(run.name, using, tries)
    return "left to others"


def _hand_on(name: str, using: str, tries: int) -> None:
    if not can_wait():
        sleep(1)
    enqueue_next(name, using=using, delay=NOT_NOW, tries=tries + 1)
