"""The suite's settings with backfills, and with what the admin needs to show them."""

from tests.history_settings import *  # noqa: F403
from tests.history_settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "django_confiture.backfills", "tests.backfills.shelf"]
