"""The app's config; ``ready()`` connects receivers and registers checks."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db.models.signals import post_migrate, pre_migrate

try:
    import psycopg as _psycopg  # noqa: F401 - what follows can't be imported without it
except ImportError as error:
    raise ImproperlyConfigured(
        'django_confiture needs psycopg 3 and libpq: pip install "psycopg[binary]". A project on '
        "psycopg2 then runs on psycopg 3, without other edits."
    ) from error

from django_confiture import unconfigured_logs
from django_confiture.checks import check_confiture
from django_confiture.migrate.receivers import end_plan, weave_plan


class ConfitureConfig(AppConfig):
    """Connects the hooks to every planned migration."""

    name = "django_confiture"
    verbose_name = "Confiture"

    def ready(self) -> None:
        """Connect without senders: both signals are sent once per app."""
        unconfigured_logs.install()
        pre_migrate.connect(weave_plan, dispatch_uid="django_confiture.weave_plan")
        post_migrate.connect(end_plan, dispatch_uid="django_confiture.end_plan")
        checks.register(check_confiture, "confiture")
