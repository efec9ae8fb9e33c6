"""Hands backfills to Django's Tasks framework or to its backport, where there is one."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Any

import django
from django.apps import apps
from django.db import connections, router, transaction

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


def is_table_in(using: str) -> bool:
    """Return whether the queue is a table in this database: django-tasks-db's."""
    if why_no_tasks():
        return False
    from django_confiture.backfills import tasks

    backend = type(tasks.configured_task().get_backend()).__module__
    if backend.partition(".")[0] != "django_tasks_db":
        return False
    model: Any = apps.get_app_config("django_tasks_database").get_model("DBTaskResult")
    if router.db_for_write(model) != using:
        return False
    connection = connections[using]
    with connection.cursor() as cursor:
        quoted = connection.ops.quote_name(model._meta.db_table)
        cursor.execute("SELECT pg_catalog.to_regclass(%s) IS NOT NULL", [quoted])
        return bool(cursor.fetchone()[0])


def enqueue_and_log(run: BackfillRun, *, using: str) -> None:
    """Queue the tasks of a backfill that a migration starts: a failure must not undo that."""
    try:
        with transaction.atomic(using=using):
            said = enqueue(run, using=using)
        logger.info(said)
    except Exception:
        logger.exception("backfill_not_queued", extra={"backfill": run.name})


def _framework() -> bool:
    if django.VERSION >= (6, 0):
        return True
    return importlib.util.find_spec("django_tasks") is not None and apps.is_installed(
        "django_tasks"
    )
