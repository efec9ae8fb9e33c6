"""The same with Celery, whose broker is the Redis that the test started."""

from tests.backfill_process_settings import *  # noqa: F403

TASKS = {
    "default": {
        "BACKEND": "django_tasks_celery.CeleryBackend",
        "OPTIONS": {"CELERY_APP": "tests.support.celery_app.app"},
    }
}
