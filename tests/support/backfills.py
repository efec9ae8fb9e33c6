"""Backfills for the tests that need them: the app, its tables, and tables to fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from io import StringIO
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
        with connection.cursor() as cursor:
            cursor.execute(_WITHOUT_TABLES)  # those of a test that has migrated every app
            cursor.execute(_tables())
        try:
            yield
        finally:
            connection.close()
            with connection.cursor() as cursor:
                cursor.execute(_WITHOUT_TABLES)


@cache
def _tables() -> str:
    """Return what ``migrate`` would send for the app, and the shelf's own tables."""
    from tests.backfills.shelf.models import Book, Copy, Everything, Loan, Novel

    out = StringIO()
    call_command("sqlmigrate", "confiture_backfills", "0001", stdout=out)
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        for model in (Book, Novel, Loan, Copy, Everything):
            editor.create_model(model)
    return "\n".join([out.getvalue(), *editor.collected_sql, _REST])


_REST = """
INSERT INTO django_migrations (app, name, applied)
  VALUES ('confiture_backfills', '0001_initial', now());
CREATE VIEW series AS SELECT i FROM generate_series(1, 3000) i;
"""
# With the function of a mirror that the test left standing.
_WITHOUT_TABLES = r"""
DO $$ DECLARE line text; BEGIN
  DROP VIEW IF EXISTS series;
  FOR line IN SELECT format('DROP TABLE %s CASCADE', oid::regclass) FROM pg_class
    WHERE relkind = 'r' AND relname ~ '^(shelf|confiture_backfills)_'
    UNION ALL SELECT format('DROP FUNCTION %s CASCADE', oid::regprocedure) FROM pg_proc
    WHERE proname LIKE 'confiture\_backfill\_%'
  LOOP EXECUTE line; END LOOP;
  DELETE FROM django_migrations WHERE app = 'confiture_backfills';
END $$
"""


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
