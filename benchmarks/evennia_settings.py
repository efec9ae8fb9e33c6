"""Settings with all of evennia's migrations."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "testproject"))

from evennia.settings_default import *  # noqa: F403
from evennia.settings_default import INSTALLED_APPS as _APPS

import local_postgres

SECRET_KEY = "benchmarks"
DATABASES = {"default": local_postgres.database("confiture_evennia")}
INSTALLED_APPS = [*_APPS, "django_confiture"]
