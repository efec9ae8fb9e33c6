"""Settings with all of Nautobot's migrations."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "testproject"))

import local_postgres

os.environ |= {
    "NAUTOBOT_ROOT": str(Path(tempfile.gettempdir()) / f"confiture-nautobot-{os.getuid()}"),
    "NAUTOBOT_SECRET_KEY": "benchmarks",
    "NAUTOBOT_INSTALLATION_METRICS_ENABLED": "false",
}

from nautobot.core.settings import *  # noqa: F403
from nautobot.core.settings import INSTALLED_APPS as _APPS

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
DATABASES = {"default": local_postgres.database("confiture_nautobot")}
INSTALLED_APPS = [*_APPS, "django_confiture"]
CONSTANCE_BACKEND = "constance.backends.memory.MemoryBackend"
