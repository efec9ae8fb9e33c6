"""``ready()`` only connects and registers."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import pre_migrate

from django_confiture.checks import check_confiture
from django_confiture.migrate.weave import weave_plan


class ConfitureConfig(AppConfig):
    """Weaves the hooks into every planned migration."""

    name = "django_confiture"
    verbose_name = "Confiture"

    def ready(self) -> None:
        """Connect to ``pre_migrate``, without a sender: it is sent once per app."""
        pre_migrate.connect(weave_plan, dispatch_uid="django_confiture.weave_plan")
        checks.register(check_confiture, "confiture")
