"""A dry run waits for the server only a few times more often than migrate would."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from django.db import connection
from django.db.migrations import CreateModel, Migration, RunPython
from django.db.models import IntegerField, TextField
from django.db.models.signals import post_migrate

from tests.cases.migrations_on_disk import Cases
from tests.management.test_migrate_dryrun import ID, NUMBER, THING, connected, dry_run
from tests.support.dry_run import migration, rehearse, runs
from tests.support.round_trips import fast_and_alone

__all__ = ["fast_and_alone"]  # a fixture

T = TypeVar("T")

ROUND_TRIP = re.compile(r"\tF\t\d+\t(?:Query|Sync)\b")
OF_MIGRATE = 4
"""BEGIN, the statement, the row of django_migrations, COMMIT."""
FOR_A_MIGRATION, WITH_A_STATEMENT = 8, 14
"""The most that a dry run may add where there are tables to watch; benchmarks/README.md has the
goal, and what is measured in a whole project."""


def traced(path: Path, run: Callable[[], T]) -> tuple[int, T]:
    """Return how often the driver waits for the server, by its own trace, and what came of it."""
    connection.ensure_connection()
    raw = connection.connection
    with path.open("w") as trace:
        raw.pgconn.trace(trace.fileno())
        try:
            found = run()
        finally:
            raw.pgconn.untrace()
    return len(ROUND_TRIP.findall(path.read_text())), found


def trips(path: Path, *plan: Migration) -> int:
    """Return the trips of a dry run that passes."""
    found, report = traced(path, lambda: rehearse(*plan))
    assert report.outcome == "passed"
    return found


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


@pytest.mark.usefixtures("untouched")
def test_what_a_migration_with_a_statement_adds(tmp_path: Path) -> None:
    found = added(tmp_path, columns) - OF_MIGRATE
    assert found <= WITH_A_STATEMENT, found


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("query", ["WITH stamped (oid, attnum)", "SELECT c.relname, x.tree"])
def test_what_hangs_on_tables_is_not_asked_again_after_ddl_that_leaves_it(
    tmp_path: Path, query: str
) -> None:
    path = tmp_path / "trace"
    traced(path, lambda: rehearse(*columns(6)))
    assert path.read_text().count(query) == 1


@pytest.mark.usefixtures("untouched")
def test_what_a_migration_that_sends_nothing_adds(tmp_path: Path) -> None:
    def nothing(number: int) -> list[Migration]:
        return [
            migration(RunPython(RunPython.noop), name=f"{each:04}_nothing")
            for each in range(1, number + 1)
        ]

    found = added(tmp_path, nothing) - (OF_MIGRATE - 1)
    assert found <= FOR_A_MIGRATION, found


@pytest.mark.usefixtures("untouched")
def test_what_django_runs_late_is_asked_about_once(tmp_path: Path) -> None:
    """Which locks it takes, what there is before it and after it; not again between two of them."""

    def indexed(number: int) -> list[Migration]:
        fields = [(f"number{each}", IntegerField(db_index=True)) for each in range(number)]
        return [migration(CreateModel("Indexed", [ID, *fields]), name="0001_indexed")]

    found = added(tmp_path, indexed)
    assert found <= 4, found


def test_what_a_statement_of_many_adds(tmp_path: Path, cases: Cases) -> None:
    """It is explained before the plan, and sent; what it locks is known from those before it."""
    cases.add("0001_thing", THING)
    cases.migrate()

    for name, number in ("0002_one", 1), ("0003_few", 30), ("0004_many", 80):
        texts = [f"UPDATE cases_thing SET id = id WHERE id = {i + 2}" for i in range(number)]
        cases.add(name, runs(texts))

    def ran(last: str) -> int:
        """Return the fewest trips of three runs, as a slow one asks more."""

        def once(attempt: int) -> int:
            found, ran = traced(tmp_path / f"{last}_{attempt}", lambda: dry_run("cases", last))
            assert ran.code == 0, ran
            return found

        return min(once(attempt) for attempt in range(3))

    one, few, many = ran("0002_one"), ran("0003_few"), ran("0004_many")
    found = ((many - few) - (few - one)) / 50
    assert 1 <= found <= 3.5, found


def test_a_call_of_a_receiver_is_a_trip(tmp_path: Path, cases: Cases) -> None:
    cases.add("0001_thing", THING)

    def quiet(**_: object) -> None:
        """Do nothing, as most receivers do for most apps."""

    def ran(calls: int) -> int:
        with ExitStack() as stack:
            for _ in range(calls):
                stack.enter_context(connected(post_migrate, partial(quiet)))
            found, ran = traced(tmp_path / f"{calls}", lambda: dry_run("cases"))
        assert ran.code == 0, ran
        return found

    # The fewest of three runs, as a slow one asks more.
    many, few = (min(ran(calls) for _ in range(3)) for calls in (32, 2))
    assert (many - few) / 30 <= 1.5


@pytest.mark.parametrize("knows", [True, False], ids=["operations tell", "code may do anything"])
def test_definitions_of_what_a_plan_leaves_alone_are_not_read(
    tmp_path: Path, cases: Cases, *, knows: bool
) -> None:
    cases.add("0001_thing", THING, CreateModel("Alone", [ID, ("left_alone", TextField(null=True))]))
    cases.migrate()
    cases.add("0002_more", NUMBER, *([] if knows else [RunPython(lambda _apps, _editor: None)]))
    _trips, ran = traced(tmp_path / "trace", lambda: dry_run("cases", "--no-running-code"))
    assert ran.code == 0, ran
    assert ("left_alone" in (tmp_path / "trace").read_text()) is not knows
