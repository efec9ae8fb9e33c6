"""The shop's settings with the admin, for its pictures."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as _APPS
from tests.support.admin_settings import *  # noqa: F403
from tests.support.admin_settings import APPS as _ADMIN

INSTALLED_APPS = [*_APPS, "django.contrib.sessions", *_ADMIN]
ROOT_URLCONF = "docs.admin_urls"
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
