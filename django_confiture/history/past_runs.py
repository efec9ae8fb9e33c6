"""What the ledger tells: past errors of forecasts, the last dry run, who applied a migration.

It can be imported without the app. Answers are empty until the ledger's tables exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.apps import apps
from django.db import DatabaseError, router, transaction

if TYPE_CHECKING:
    from django_confiture.history.accuracy import Factor
    from django_confiture.history.stored_forecasts import LastDryRun

Answer = TypeVar("Answer")


def past_errors(alias: str) -> Mapping[str, Factor]:
    """Return by how much forecasts for a database were off, by kind of statement."""
    return _ask_ledger(lambda forecasts: forecasts.factors(alias)) or {}


def last_dry_run(alias: str) -> LastDryRun | None:
    """Return the last dry run of a database whose report was kept."""
    return _ask_ledger(lambda forecasts: forecasts.last_dry_run(alias))


def databases_that_applied(app_label: str, name: str) -> Sequence[str]:
    """Return the databases on which the last run of a migration that completed applied it."""
    return _ask_ledger(lambda _forecasts: _applied(app_label, name)) or []


def _applied(app_label: str, name: str) -> Sequence[str]:
    from django_confiture.history.models import MigrationExecution  # needs the app

    runs = MigrationExecution.objects.filter(app_label=app_label, name=name, outcome="completed")
    last = dict(runs.order_by("number").values_list("database", "direction"))
    return [database for database, direction in last.items() if direction == "forward"]


def _ask_ledger(question: Callable[[Any], Answer]) -> Answer | None:
    if not apps.is_installed("django_confiture.history"):
        return None
    from django_confiture.history import models, stored_forecasts  # need the app

    try:
        with transaction.atomic(using=router.db_for_read(models.MigrationExecution)):
            return question(stored_forecasts)
    except DatabaseError:
        return None
