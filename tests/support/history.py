"""The ledger for the tests that need it: its app, its tables, and none of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from tests import history_settings
from tests.support.admin_site import admin_of_installed_apps

_SETTINGS = {
    name: getattr(history_settings, name)
    for name in (
        "INSTALLED_APPS",
        "MIDDLEWARE",
        "SESSION_ENGINE",
        "MESSAGE_STORAGE",
        "ROOT_URLCONF",
        "TEMPLATES",
        "STATIC_URL",
    )
}
_TABLES = (
    "journalentry",
    "statementexecution",
    "hookexecution",
    "migrationexecution",
    "ledgerhead",
    "forecast",
    "dryrun",
)


@contextmanager
def installed() -> Iterator[None]:
    """Install the app, without its tables."""
    with override_settings(**_SETTINGS):
        from django_confiture.history import forecast_log, receivers, recording_errors

        try:
            with admin_of_installed_apps():
                yield
        finally:
            receivers.disconnect()
            forecast_log.disconnect()
            recording_errors.forget()


@pytest.fixture
def history(transactional_db: None) -> Iterator[None]:
    """Give an empty ledger, as if the project had installed the app and migrated."""
    with installed():
        call_command("migrate", "confiture_history", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(f'confiture_history_{t}' for t in _TABLES)}")
        first = import_module("django_confiture.history.migrations.0001_initial")
        with connection.schema_editor() as editor:
            first.begin(apps, editor)
        try:
            yield
        finally:
            remove()


def remove() -> None:
    """Take the tables away; what Django noted of the models goes with the flush."""
    from django_confiture.history import receivers

    receivers.disconnect()
    with override_settings(CONFITURE={"ENABLED": False}):
        call_command("migrate", "confiture_history", "zero", verbosity=0)
