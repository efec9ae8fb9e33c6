"""A dry run waits for the server only a few times more often than migrate would."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations import Migration, RunPython

from tests.support.dry_run import migration, rehearse, runs

pytestmark = pytest.mark.usefixtures("untouched")

ROUND_TRIP = re.compile(r"\tF\t\d+\t(?:Query|Sync)\b")
OF_MIGRATE = 4
"""BEGIN, the statement, the row of django_migrations, COMMIT."""
FOR_A_MIGRATION, WITH_A_STATEMENT = 10, 17
"""The most that a dry run may add where there are tables to watch; benchmarks/README.md has the
goal, and what is measured in a whole project."""


def trips(path: Path, *plan: Migration) -> int:
    """Return how often the driver waits for the server in a dry run, by its own trace."""
    connection.ensure_connection()
    raw = connection.connection
    with path.open("w") as trace:
        raw.pgconn.trace(trace.fileno())
        try:
            report = rehearse(*plan)
        finally:
            raw.pgconn.untrace()
    assert report.outcome == "passed"
    return len(ROUND_TRIP.findall(path.read_text()))


def added(path: Path, plan: Callable[[int], list[Migration]]) -> float:
    """Return the trips of one migration more: the fewest of three runs, as a slow one asks more."""
    few, many = (
        min(trips(path / f"{number}_{attempt}", *plan(number)) for attempt in range(3))
        for number in (2, 12)
    )
    return (many - few) / 10


def columns(number: int) -> list[Migration]:
    return [
        migration(runs(f"ALTER TABLE dry_row ADD more{each} integer"), name=f"{each:04}_more")
        for each in range(1, number + 1)
    ]


def test_what_a_migration_with_a_statement_adds(tmp_path: Path) -> None:
    found = added(tmp_path, columns) - OF_MIGRATE
    assert found <= WITH_A_STATEMENT, found


def test_what_a_migration_that_sends_nothing_adds(tmp_path: Path) -> None:
    def nothing(number: int) -> list[Migration]:
        return [
            migration(RunPython(RunPython.noop), name=f"{each:04}_nothing")
            for each in range(1, number + 1)
        ]

    found = added(tmp_path, nothing) - (OF_MIGRATE - 1)
    assert found <= FOR_A_MIGRATION, found
