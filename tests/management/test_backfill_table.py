"""How backfills are shown: a line in a log, a live table on a terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management.base import OutputWrapper
from rich.console import Console

from django_confiture.backfills.status import BackfillStatus
from django_confiture.management import backfill_table


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def status(**given: Any) -> BackfillStatus:
    known: dict[str, Any] = {
        "name": "shop.backfills.Fill",
        "state": "running",
        "done": 500,
        "total": 2000,
        "percent": 25.0,
        "rows_per_second": None,
        "remaining_seconds": None,
        "batch_size": 100,
        "workers": 0,
        "throttled_by": [],
        "last_error": None,
        "started_at": None,
        "finished_at": None,
    }
    return BackfillStatus(**{**known, **given})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "running, 500 of about 2,000 rows (25 %)"),
        ({"total": None, "percent": None, "state": "pending"}, "pending, not begun"),
        ({"state": "completed", "percent": None}, "completed, 500 of 2,000 rows"),
        (
            {"rows_per_second": 1234.5, "remaining_seconds": 90.0, "workers": 1},
            "running, 500 of about 2,000 rows (25 %), 1,234 rows/s, about 1.5 min to go, 1 worker",
        ),
        (
            {"workers": 2, "throttled_by": ["replication_lag", "autovacuum"]},
            (
                "running, 500 of about 2,000 rows (25 %), 2 workers, "
                "waits: replication_lag and autovacuum"
            ),
        ),
        (
            {"state": "failed", "last_error": "DataError: too long"},
            "failed, 500 of about 2,000 rows (25 %), DataError: too long",
        ),
    ],
)
def test_a_line_says_what_is_known(given: dict[str, Any], expected: str) -> None:
    assert backfill_table.line(status(**given)) == f"shop.backfills.Fill: {expected}"


def test_the_table_has_a_bar_for_each() -> None:
    long = "warehouse.backfills.FillPickNumberOfEachOrderLineFromItsDelivery"
    console = Console(file=StringIO(), width=80)
    console.print(backfill_table.table([status(), status(name=long, workers=2)]))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert lines[0] == "shop.backfills.Fill"
    assert lines[1].count("━") == 6  # a quarter of 24
    assert lines[1].endswith("running, 500 of about 2,000 rows (25 %)")
    assert lines[2] == long
    assert max(map(len, lines)) <= 80


def looks(*, number: int) -> tuple[Callable[[], list[BackfillStatus]], threading.Event]:
    """Return a look that sees one more batch each time, and an event once ``number`` were taken."""
    taken: list[int] = []
    enough = threading.Event()

    def look() -> list[BackfillStatus]:
        taken.append(1)
        if len(taken) >= number:
            enough.set()
        return [status(done=len(taken) * 100, state="completed" if enough.is_set() else "running")]

    return look, enough


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_table, "EVERY", 0.01)
    monkeypatch.setattr(backfill_table, "EVERY_IN_LOG", 0.01)


@pytest.mark.parametrize("stream", [StringIO(), Terminal()], ids=["log", "terminal"])
def test_it_is_shown_while_something_else_goes_on(stream: StringIO, db: None) -> None:
    look, enough = looks(number=3)
    with backfill_table.watched(look, OutputWrapper(stream), using="default"):
        assert enough.wait(30)
    said = stream.getvalue()
    for rows in (100, 200):
        assert f"{rows} of about 2,000 rows" in said
    assert not [each for each in threading.enumerate() if each.name == "confiture-backfills"]


@pytest.mark.parametrize("stream", [StringIO(), Terminal()], ids=["log", "terminal"])
def test_watching_ends_when_nothing_goes_on(stream: StringIO) -> None:
    look, _ = looks(number=3)
    backfill_table.watch(look, OutputWrapper(stream), goes_on=lambda each: each.state == "running")
    said = stream.getvalue()
    assert "200 of about 2,000 rows" in said
    assert "300 of" not in said
