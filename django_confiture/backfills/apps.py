"""The app's config; ``ready()`` registers its checks and its task."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _


class BackfillsConfig(AppConfig):
    """Runs backfills, and keeps their state."""

    name = "django_confiture.backfills"
    label = "confiture_backfills"
    verbose_name = _("Backfills")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and the task with the framework that will run it."""
        from django_confiture.backfills import queueing
        from django_confiture.backfills.checks import check_backfills

        checks.register(check_backfills, "confiture")
        queueing.register_task()
