"""What ``migrate`` tells other shells costs a migration that takes a moment nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.db import connection, migrations
from pytest_django import Settings

from django_confiture.migrate.status.published import connected_migrates
from django_confiture.migrate.turns import one_at_a_time
from tests.cases.migrations_on_disk import Cases
from tests.support.sessions import connect

pytestmark = pytest.mark.usefixtures("_closed")


@pytest.fixture
def _closed() -> Any:
    yield
    connection.close()


_LAST_QUERY = """
SELECT query FROM pg_stat_activity
WHERE starts_with(application_name, %s) AND datname = current_database()
"""


def test_a_migration_that_takes_a_moment_is_not_published(cases: Cases, settings: Settings) -> None:
    found: list[str] = []

    def look(apps: object, editor: object) -> None:
        with connect("shell") as shell:
            rows = shell.execute(_LAST_QUERY, [one_at_a_time.NAME]).fetchall()
        found.extend(query for (query,) in rows)

    for number in range(1, 6):
        cases.add(f"{number:04}_short")
    cases.add("0006_looks", migrations.RunPython(look))
    settings.CONFITURE = {}
    cases.migrate()
    (query,) = found
    assert "short" not in query  # it would be in a comment


def test_what_takes_longer_is_published_with_the_time_it_ran_before(
    cases: Cases, settings: Settings
) -> None:
    found: list[Any] = []

    def look(apps: object, editor: object) -> None:
        time.sleep(0.7)
        with connect("shell") as shell:
            found.extend(connected_migrates(shell))

    cases.add("0001_short")
    cases.add("0002_long", migrations.RunPython(look))
    settings.CONFITURE = {}
    cases.migrate()
    (migrate,) = found
    assert (migrate.beacon.name, migrate.beacon.number) == ("0002_long", 2)
    assert 100 <= migrate.beacon.ran_ms < 700
    assert migrate.elapsed_ms > 600


def test_a_short_one_takes_the_place_of_one_that_was_published(
    cases: Cases, settings: Settings
) -> None:
    found: list[Any] = []

    def look(apps: object, editor: object) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with connect("shell") as shell:
                (migrate,) = connected_migrates(shell)
            if migrate.beacon is not None and migrate.beacon.name == "0002_short":
                break
            time.sleep(0.02)
        found.append(migrate)

    slow = migrations.RunPython(lambda apps, editor: time.sleep(0.4))
    cases.add("0001_long", slow)
    cases.add("0002_short", migrations.RunPython(look))
    settings.CONFITURE = {}
    cases.migrate()
    assert [each.beacon.name for each in found] == ["0002_short"]
