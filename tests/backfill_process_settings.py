"""Settings of the processes that tests start: the database that the test made, and its options."""

import json
import os
from typing import Any

import django

from tests.backfill_settings import *  # noqa: F403
from tests.backfill_settings import CONFITURE as _CONFITURE
from tests.backfill_settings import DATABASES as _DATABASES
from tests.backfill_settings import INSTALLED_APPS as _APPS

DATABASES = {"default": {**_DATABASES["default"], "NAME": os.environ["CONFITURE_TEST_DATABASE"]}}
INSTALLED_APPS = [
    *(app for app in _APPS if app != "django_confiture.history"),
    *([] if django.VERSION >= (6, 0) else ["django_tasks"]),
    "django_tasks_db",
]
TASKS: dict[str, Any] = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
CONFITURE = {
    **_CONFITURE,
    "BACKFILLS": json.loads(os.environ.get("CONFITURE_TEST_BACKFILLS", "{}")),
}
