"""Settings with all of wagtail's migrations."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "testproject"))

from dry_run_project import WAGTAIL

import local_postgres

SECRET_KEY = "benchmarks"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": local_postgres.database("confiture_wagtail")}
STATIC_URL = "/static/"
WAGTAIL_SITE_NAME = "benchmarks"
INSTALLED_APPS = [*WAGTAIL, "django_confiture"]
TEMPLATES = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True},
]
