"""Logs the forecast of each real migration when it starts, and a warning when it is overdue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Timer
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections, router, transaction
from django.db.models.signals import pre_migrate

from django_confiture import conf, signals
from django_confiture.dry_run_mark import in_dry_run
from django_confiture.history.models import Forecast
from django_confiture.history.recording_errors import logger, quietly
from django_confiture.migrate.known_forecasts import Key, KnownForecast, known_forecasts
from django_confiture.migrate.phases import creating_test_database

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration

    from django_confiture.hooks.base import HookContext

_RANGE = ("low_ms", "expected_ms", "high_ms")
_NEWS_MS = 1000.0
"""Nothing shorter than this is reported as overdue."""

_expected: dict[str, Mapping[Key, KnownForecast]] = {}
"""By alias. Read before the first migration, since we may not read in its transaction."""

_timers: dict[tuple[str, str], Timer] = {}
"""Timers of the running migrations, by alias and label."""


def connect() -> None:
    """Connect the receivers."""
    pre_migrate.connect(
        _planned, sender=apps.get_app_config("confiture_history"), dispatch_uid=__name__
    )
    for name, receiver in _RECEIVERS.items():
        getattr(signals, name).connect(receiver, dispatch_uid=f"{__name__}.{name}")


def disconnect() -> None:
    """Disconnect the receivers."""
    pre_migrate.disconnect(dispatch_uid=__name__)
    for name in _RECEIVERS:
        getattr(signals, name).disconnect(dispatch_uid=f"{__name__}.{name}")


def _planned(*, plan: Sequence[tuple[Migration, bool]] = (), using: str, **_: object) -> None:
    if not plan:
        return
    _expected.pop(using, None)
    rehearsed = in_dry_run(connections[using])
    if rehearsed or not conf.get("ENABLED") or creating_test_database():
        return
    ledger = router.db_for_read(Forecast)
    with quietly("the forecasts of a plan"), transaction.atomic(using=ledger):
        _expected[using] = known_forecasts(using)


def _started(
    *, migration: Migration, using: str, direction: str, context: HookContext, **_: object
) -> None:
    key = migration.app_label, migration.name, direction
    forecast = _expected.get(using, {}).get(key)
    if context.dry_run or forecast is None:
        return
    with quietly("a forecast", migration):
        facts: dict[str, Any] = {
            "migration": migration.name,
            "app_label": migration.app_label,
            **{name: round(forecast.estimate[name]) for name in _RANGE},
            "forecast_at": forecast.made_at.isoformat(),
        }
        logger.info("migration_forecast", extra=facts)
        _timers[using, str(migration)] = _overdue_after(forecast.estimate["high_ms"], facts)


def _overdue_after(high_ms: float, facts: dict[str, Any]) -> Timer:
    began = perf_counter()

    def say() -> None:
        elapsed_ms = round((perf_counter() - began) * 1000)
        logger.warning("migration_overdue", extra={**facts, "elapsed_ms": elapsed_ms})

    timer = Timer(max(high_ms, _NEWS_MS) / 1000, say)
    timer.daemon = True
    timer.start()
    return timer


def _ended(*, migration: Migration, using: str, **_: object) -> None:
    if timer := _timers.pop((using, str(migration)), None):
        timer.cancel()


_RECEIVERS = {
    "migration_started": _started,
    "migration_finished": _ended,
    "migration_failed": _ended,
}
