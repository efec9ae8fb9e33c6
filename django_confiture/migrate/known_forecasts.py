"""Forecasts of earlier dry runs for the migrations of a plan, if the ledger is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.db import connections, router

Key = tuple[str, str, str]
"""App label, name, direction."""


def known_forecasts(alias: str) -> Mapping[Key, dict[str, Any]]:
    """Return the last estimate of each migration of a database; none without the ledger."""
    if not apps.is_installed("django_confiture.history"):
        return {}
    model: Any = apps.get_model("confiture_history", "Forecast")
    ledger = router.db_for_read(model)
    connection = connections[ledger]
    with connection.cursor() as cursor:
        if model._meta.db_table not in connection.introspection.table_names(cursor):
            return {}
    rows = model._default_manager.using(ledger).filter(database=alias).order_by("made_at", "pk")
    return {
        (app_label, name, direction): estimate
        for app_label, name, direction, estimate in rows.values_list(
            "app_label", "name", "direction", "estimate"
        )
    }
