"""The way to Django's Tasks framework, or to its backport; both may be missing."""

from __future__ import annotations

import importlib.util
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import django
from django.apps import apps
from django.utils import timezone

from django_confiture.backfills.options import backfill_options

if TYPE_CHECKING:
    from django_confiture.backfills.models import BackfillRun

logger = logging.getLogger("django_confiture.backfills")

_WITHOUT_WORKERS = ("ImmediateBackend", "DummyBackend")


def register_task() -> None:
    """Make the task known: a worker looks it up, and some need it when they start."""
    if _framework():
        from django_confiture.backfills import tasks  # noqa: F401 - registers itself


def why_no_tasks() -> str:
    """Return why nothing can be queued, with the fix; ``""`` where it can."""
    if not _framework():
        return "Django 5.2 has no Tasks framework: install django-tasks and django-tasks-db"
    name = type(_task().get_backend()).__name__
    if name in _WITHOUT_WORKERS:
        return f"TASKS uses {name}, which has no worker: set up one such as django-tasks-db"
    return ""


def enqueue(run: BackfillRun, *, using: str) -> str:
    """Queue as many tasks as the backfill wants workers; return what came of it."""
    if why := why_no_tasks():
        command = f"manage.py confiture_backfills run {run.name}"
        return f"{run.name} is {run.state}. {why}, or use: {command}"
    if run.state not in ("queued", "running"):
        return f"{run.name} is {run.state}."
    wanted = backfill_options().workers
    for _ in range(wanted):
        enqueue_next(run.name, using=using)
    return f"{run.name} is {run.state}, with {wanted} tasks queued."


def enqueue_and_log(run: BackfillRun, *, using: str) -> None:
    """Queue the tasks of a migration that has been committed: what fails now must not undo it."""
    try:
        logger.info(enqueue(run, using=using))
    except Exception:
        logger.exception("backfill_not_queued", extra={"backfill": run.name})


def enqueue_next(name: str, *, using: str, delay: timedelta | None = None, tries: int = 0) -> None:
    """Queue one task, after ``delay`` where the backend knows how to wait."""
    task = _task()
    if delay is not None and task.get_backend().supports_defer:
        task = task.using(run_after=timezone.now() + delay)
    task.enqueue(name, using, tries)


def can_wait() -> bool:
    """Return whether the backend knows how to run a task later."""
    return bool(_task().get_backend().supports_defer)


def _framework() -> bool:
    if django.VERSION >= (6, 0):
        return True
    return importlib.util.find_spec("django_tasks") is not None and apps.is_installed(
        "django_tasks"
    )


def _task() -> Any:
    from django_confiture.backfills.tasks import work_on_backfill

    options = backfill_options()
    return work_on_backfill.using(backend=options.task_backend, queue_name=options.queue)
