"""The ledger for the tests that need it: its app, its tables, and none of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
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
        with connection.cursor() as cursor:
            cursor.execute(_WITHOUT_TABLES)  # those of a test that has migrated every app
            cursor.execute(_tables())
        first = import_module("django_confiture.history.migrations.0001_initial")
        with connection.schema_editor() as editor:
            first.begin(apps, editor)
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute(_WITHOUT_TABLES)


@cache
def _tables() -> str:
    """Return what ``migrate`` would send for the app: each test needs it, and that takes longer."""
    names = sorted(name for app, name in MigrationLoader(None).graph.nodes if app == _APP)
    out = StringIO()
    for name in names:
        call_command("sqlmigrate", _APP, name, stdout=out)
    values = ", ".join(f"('{_APP}', '{name}', now())" for name in names)
    return f"{out.getvalue()}\nINSERT INTO django_migrations (app, name, applied) VALUES {values}"


_APP = "confiture_history"
_WITHOUT_TABLES = """
DO $$ DECLARE line text; BEGIN
  FOR line IN SELECT format('DROP TABLE %s CASCADE', oid::regclass) FROM pg_class
    WHERE relkind = 'r' AND starts_with(relname, 'confiture_history_')
  LOOP EXECUTE line; END LOOP;
  DELETE FROM django_migrations WHERE app = 'confiture_history';
END $$
"""


def remove() -> None:
    """Take the tables away; what Django noted of the models goes with the flush."""
    from django_confiture.history import receivers

    receivers.disconnect()
    with override_settings(CONFITURE={"ENABLED": False}):
        call_command("migrate", "confiture_history", "zero", verbosity=0)
