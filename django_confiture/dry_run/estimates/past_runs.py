"""What the ledger has seen of a database: earlier forecasts, and the last dry run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.apps import apps
from django.db import DatabaseError, router, transaction

if TYPE_CHECKING:
    from django_confiture.history.accuracy import Factor
    from django_confiture.history.stored_forecasts import LastDryRun

_LEDGER = "django_confiture.history"

Answer = TypeVar("Answer")


def observed_factors(alias: str) -> Mapping[str, Factor]:
    """Return the factor of each kind; none without the app, or before its tables are there."""
    return _answer(lambda history: history.factors(alias)) or {}


def last_dry_run(alias: str) -> LastDryRun | None:
    """Return what each migration took in the last dry run that has kept its report."""
    return _answer(lambda history: history.last_dry_run(alias))


def _answer(question: Callable[[Any], Answer]) -> Answer | None:
    if not apps.is_installed(_LEDGER):
        return None
    from django_confiture.history import models, stored_forecasts

    try:
        with transaction.atomic(using=router.db_for_read(models.MigrationExecution)):
            return question(stored_forecasts)
    except DatabaseError:
        return None
