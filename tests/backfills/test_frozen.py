"""A worker that freezes after whichever statement: the others go on once its lease is over."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest
from django.db import connection, connections
from pytest_django import Settings

from tests.support.backfills import PATH, books, counters, execute, shelf

__all__ = ["shelf"]  # a fixture

pytestmark = pytest.mark.usefixtures("shelf")
ROWS = 250
OPTIONS = {
    "MIN": 20,
    "MAX": 100,
    "LOCK_TIMEOUT": "100ms",
    "STATEMENT_TIMEOUT": "200ms",
    "LEASE": "300ms",
}


def run(name: str) -> str:
    from django_confiture.backfills.in_process import run_here

    return run_here(PATH + name, using="default", actor="the test", workers=1).value


def fresh() -> None:
    execute("TRUNCATE shelf_book, confiture_backfills_backfillrun CASCADE")
    books(ROWS)


class Worker(Thread):
    """A worker on its own connection, which freezes once after its n-th statement."""

    def __init__(self, name: str, freezes_after: int) -> None:
        super().__init__()
        self.frozen, self.woken = Event(), Event()
        self.statements: list[tuple[str, bool]] = []
        """Each statement, and whether a transaction was open after it."""
        self.state = ""
        self._backfill = name
        self._freezes_after = freezes_after

    def run(self) -> None:
        """Work until the backfill has ended."""
        try:
            with connection.execute_wrapper(self._noted):
                self.state = run(self._backfill)
        finally:
            self.frozen.set()
            connections["default"].close()

    def _noted(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        found = execute(sql, *rest)
        self.statements.append((sql, connection.in_atomic_block))
        if len(self.statements) == self._freezes_after:
            self.frozen.set()
            self.woken.wait(60)
        return found


def moments(name: str, about: str) -> list[int]:
    """Return the number of the first statement of each kind that stands in a transaction."""
    fresh()
    worker = Worker(name, 0)
    worker.start()
    worker.join()
    assert worker.state == "completed"
    first = {sql: n for n, (sql, inside) in reversed([*enumerate(worker.statements, 1)]) if inside}
    return sorted(n for sql, n in first.items() if about in sql)


@pytest.mark.parametrize(
    ("name", "about", "times"),
    [("FillSortTitle", "", {1: ROWS}), ("Mirrored", "TRIGGER", {0: ROWS})],
)
def test_a_worker_that_freezes_after_whichever_statement_keeps_no_lock(
    settings: Settings, name: str, about: str, times: dict[int, int]
) -> None:
    settings.CONFITURE = {"BACKFILLS": OPTIONS}
    for moment in moments(name, about):
        fresh()
        frozen = Worker(name, moment)
        frozen.start()
        assert frozen.frozen.wait(60)
        began = monotonic()
        try:
            assert run(name) == "completed", moment
            assert monotonic() - began < 20, frozen.statements[-1]
            assert counters() == times
        finally:
            frozen.woken.set()
            frozen.join(60)
        assert frozen.state == "completed"
        assert counters() == times
