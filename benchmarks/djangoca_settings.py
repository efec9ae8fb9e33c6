"""Settings with all of django-ca's migrations."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "testproject"))

import local_postgres

SECRET_KEY = "benchmarks"
USE_TZ = True
DATABASES = {"default": local_postgres.database("confiture_djangoca")}
ROOT_URLCONF = "django.contrib.auth.urls"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "django-ca": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": str(Path(tempfile.gettempdir()) / f"confiture-djangoca-{os.getuid()}")
        },
    },
}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin",
    "django_object_actions",
    "django_ca",
    "django_confiture",
]
TEMPLATES = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True},
]
