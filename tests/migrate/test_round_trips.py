"""How often a real ``migrate`` waits for the server: with no settings, as often as Django alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, migrations
from pytest_django import Settings

from django_confiture import signals
from tests.cases.migrations_on_disk import Cases
from tests.dry_run.test_round_trips import traced
from tests.support import recording

DJANGO_ALONE: dict[str, Any] = {"ENABLED": False}
FEW, MANY = 1, 4

Measure = Callable[[dict[str, Any]], int]


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    with recording.recording():
        yield
    connection.close()


def looks(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.fixture(params=[True, False], ids=["atomic", "non-atomic"])
def trips(
    request: pytest.FixtureRequest, cases: Cases, settings: Settings, tmp_path: Path
) -> Measure:
    """Return what measures the round trips that one migration more costs, with some settings."""

    def of_a_plan(number: int) -> int:
        before = len(cases.names)
        for index in range(before, before + number):
            operations = [migrations.RunSQL("SELECT 1"), migrations.RunPython(looks)]
            cases.add(f"{index:04}_looks", *operations, atomic=request.param)
        found, _none = traced(tmp_path / "trace", cases.migrate)
        return found

    def of_one_more(confiture: dict[str, Any]) -> int:
        settings.CONFITURE = confiture
        few, many = of_a_plan(FEW), of_a_plan(MANY)
        assert (many - few) % (MANY - FEW) == 0
        return (many - few) // (MANY - FEW)

    return of_one_more


def test_without_settings_a_migration_costs_what_it_costs_with_django_alone(trips: Measure) -> None:
    assert trips({}) == trips(DJANGO_ALONE)


def test_with_a_listener_alone_as_well(trips: Measure) -> None:
    """The watch that it gets asks on its own connection."""

    def hears(**_facts: object) -> None:
        pass

    signals.migration_waits.connect(hears)
    try:
        assert trips({}) == trips(DJANGO_ALONE)
    finally:
        signals.migration_waits.disconnect(hears)


def test_max_blocking_costs_two_at_most(trips: Measure) -> None:
    """The beginning of an attempt, and the check of constraints that COMMIT would make."""
    limited = {"MIGRATE": {"MAX_BLOCKING": "10s"}}
    assert trips(limited) - trips(DJANGO_ALONE) <= 2
