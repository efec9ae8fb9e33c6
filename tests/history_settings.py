"""The suite's settings with the ledger, and with what the admin needs to show it."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS
from tests.support.admin_settings import *  # noqa: F403
from tests.support.admin_settings import APPS as _ADMIN

INSTALLED_APPS = [*_APPS, *_ADMIN, "django_confiture.history"]
ROOT_URLCONF = "tests.history_urls"
