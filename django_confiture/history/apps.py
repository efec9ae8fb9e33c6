"""The app's config; ``ready()`` connects receivers."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class HistoryConfig(AppConfig):
    """Records migrations, their hooks, and forecasts."""

    name = "django_confiture.history"
    label = "confiture_history"
    verbose_name = _("Migration history")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Listen to the signals of migrations and dry runs."""
        from django_confiture.history import forecast_log, receivers  # need the models

        receivers.connect()
        forecast_log.connect()
