"""Backfills for the tests that need them: the app, its tables, and tables to fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from tests import backfill_settings
from tests.support.admin_site import admin_of_installed_apps

SETTINGS = {
    name: getattr(backfill_settings, name)
    for name in (
        "MIDDLEWARE",
        "SESSION_ENGINE",
        "MESSAGE_STORAGE",
        "ROOT_URLCONF",
        "TEMPLATES",
        "STATIC_URL",
    )
}
APPS = [app for app in backfill_settings.INSTALLED_APPS if app != "django_confiture.history"]
PATH = "tests.backfills.shelf.backfills."


@pytest.fixture
def shelf(transactional_db: None) -> Iterator[None]:
    """Give the shelf's tables, empty, as if the project had installed the app and migrated."""
    with override_settings(INSTALLED_APPS=APPS, **SETTINGS), admin_of_installed_apps():
        from tests.backfills.shelf.models import Book, Copy, Everything, Loan

        call_command("migrate", "confiture_backfills", verbosity=0)
        with connection.schema_editor() as editor:
            for model in (Book, Loan, Copy, Everything):
                editor.create_model(model)
        execute("CREATE VIEW series AS SELECT i FROM generate_series(1, 3000) i")
        try:
            yield
        finally:
            connection.close()
            execute("DROP VIEW series")
            with connection.schema_editor() as editor:
                for model in (Book, Loan, Copy, Everything):
                    editor.delete_model(model)
            call_command("migrate", "confiture_backfills", "zero", verbosity=0)
            for (name,) in execute(
                "SELECT proname FROM pg_proc WHERE proname LIKE 'confiture_backfill_%%'"
            ):
                execute(f"DROP FUNCTION {name}")  # of a mirror that the test left standing


def books(count: int) -> None:
    """Insert books."""
    execute(
        "INSERT INTO shelf_book (title, times_filled)"
        " SELECT 'Title ' || i, 0 FROM generate_series(1, %s) i",
        count,
    )
    execute("ANALYZE shelf_book")


def execute(sql: str, *params: Any) -> list[tuple[Any, ...]]:
    """Execute a statement; return its rows, if it has any."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def counters(table: str = "shelf_book") -> dict[int, int]:
    """Return how many rows were filled how many times."""
    query = f"SELECT times_filled, count(*) FROM {table} GROUP BY 1"
    return dict(execute(query))


def wait_for(done: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something has come true; fail where it does not."""
    end = monotonic() + seconds
    while not done():
        assert monotonic() < end, "it did not come true"
        sleep(0.02)
