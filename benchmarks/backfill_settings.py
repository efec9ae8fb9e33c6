"""The project of benchmarks/backfill.py: its processes are told where the database is."""

import json
import os

import django

SECRET_KEY = "benchmark"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("CONFITURE_BENCH_NAME", "bench"),
        "HOST": os.environ["CONFITURE_BENCH_HOST"],
        "PORT": "5432",
        "USER": "postgres",
    }
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django_confiture",
    "django_confiture.backfills",
    *([] if django.VERSION >= (6, 0) else ["django_tasks"]),
    "django_tasks_db",
    "backfill_rows",
]
if "CONFITURE_BENCH_BROKER" in os.environ:
    TASKS = {
        "default": {
            "BACKEND": "django_tasks_celery.CeleryBackend",
            "OPTIONS": {"CELERY_APP": "backfill_celery.app"},
        }
    }
else:
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
CONFITURE = {"BACKFILLS": json.loads(os.environ.get("CONFITURE_BENCH_OPTIONS", "{}"))}
