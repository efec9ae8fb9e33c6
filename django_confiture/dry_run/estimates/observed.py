"""What the ledger has seen of earlier forecasts on a database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import DatabaseError, router, transaction

if TYPE_CHECKING:
    from django_confiture.history.comparing import Factor

_LEDGER = "django_confiture.history"


def observed_factors(alias: str) -> Mapping[str, Factor]:
    """Return the factor of each kind; none without the app, or before its tables are there."""
    return _asked("factors", alias)


def last_durations(alias: str) -> Mapping[str, float]:
    """Return how many milliseconds each migration took in the last dry run that has kept it."""
    return _asked("last_durations", alias)


def _asked(question: str, alias: str) -> Mapping[str, Any]:
    if not apps.is_installed(_LEDGER):
        return {}
    from django_confiture.history import ledger, models

    try:
        with transaction.atomic(using=router.db_for_read(models.MigrationExecution)):
            found: Mapping[str, Any] = getattr(ledger, question)(alias)
            return found
    except DatabaseError:
        return {}
