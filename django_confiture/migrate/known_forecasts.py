"""Forecasts of earlier dry runs for the migrations of a plan, if the ledger is installed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, router
from django.db.models import Model

from django_confiture.migration_files import has_changed

Key = tuple[str, str, str]
"""App label, name, direction."""


class KnownForecast(NamedTuple):
    """What the last dry run of a migration forecast."""

    made_at: datetime
    estimate: Mapping[str, float]
    """``low_ms``, ``expected_ms``, ``high_ms``, ``confidence_percent``."""


def known_forecasts(alias: str) -> Mapping[Key, KnownForecast]:
    """Return the last forecast of each migration of a database; none without the ledger.

    One of a migration whose file has changed since is left out: it is another migration's.
    """
    if not apps.is_installed("django_confiture.history"):
        return {}
    forecasts: Any = apps.get_model("confiture_history", "Forecast")
    dry_runs: Any = apps.get_model("confiture_history", "DryRun")
    ledger = router.db_for_read(forecasts)
    if not (table_exists(forecasts, ledger) and table_exists(dry_runs, ledger)):
        return {}
    rows = forecasts._default_manager.using(ledger).filter(database=alias)
    found = {
        (app_label, name, direction): (dry_run, KnownForecast(made_at, estimate))
        for app_label, name, direction, dry_run, made_at, estimate in rows.order_by(
            "made_at", "pk"
        ).values_list("app_label", "name", "direction", "dry_run_id", "made_at", "estimate")
    }
    last = {dry_run for dry_run, _forecast in found.values()}
    of_last = dry_runs._default_manager.using(ledger).filter(pk__in=last)
    plans = dict(of_last.values_list("pk", "plan"))
    return {
        key: forecast
        for key, (dry_run, forecast) in found.items()
        if not has_changed(f"{key[0]}.{key[1]}", key[2], plans.get(dry_run, {}))
    }


def table_exists(model: type[Model], alias: str) -> bool:
    """Return whether ``migrate`` has made a table, with all columns of today.

    A query would fail, and the server log it.
    """
    connection = connections[alias]
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if table not in connection.introspection.table_names(cursor):
            return False
        there = {
            each.name for each in connection.introspection.get_table_description(cursor, table)
        }
    return there >= {field.column for field in model._meta.concrete_fields}
