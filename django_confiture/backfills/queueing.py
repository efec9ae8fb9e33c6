"""Hands backfills to Django's Tasks framework or to its backport, where there is one."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING

import django
from django.apps import apps

from django_confiture.backfills.chains import begin_chains
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
    from django_confiture.backfills import tasks

    name = type(tasks.configured_task().get_backend()).__name__
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
    from django_confiture.backfills import tasks

    options = backfill_options()
    for link in begin_chains(run, using=using, wanted=options.workers):
        tasks.enqueue_link(run.name, link, using=using)
        tasks.enqueue_spare(run.name, link, using=using, options=options)
    return f"{run.name} is {run.state}, with {options.workers} tasks queued."


def enqueue_and_log(run: BackfillRun, *, using: str) -> None:
    """Queue the tasks of a migration that has been committed: what fails now must not undo it."""
    try:
        logger.info(enqueue(run, using=using))
    except Exception:
        logger.exception("backfill_not_queued", extra={"backfill": run.name})


def _framework() -> bool:
    if django.VERSION >= (6, 0):
        return True
    return importlib.util.find_spec("django_tasks") is not None and apps.is_installed(
        "django_tasks"
    )
