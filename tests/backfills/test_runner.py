"""One worker in one process, on a real database: what a backfill does to which rows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.backfills import PATH, books, counters, execute, shelf

__all__ = ["shelf"]  # a fixture

pytestmark = pytest.mark.usefixtures("shelf")


def run(name: str) -> Any:
    """Run a backfill in this process; return what is known of it then."""
    from django_confiture.backfills.running import run_here
    from django_confiture.backfills.status import statuses

    run_here(PATH + name, using="default", actor="the test")
    (status,) = statuses("default", [PATH + name])
    return status


@pytest.mark.parametrize(
    "name", ["FillSortTitle", "ProcessSortTitle", "SaveSortTitle", "CountBooks", "CountBooksAbove"]
)
def test_every_row_is_done_once_each_way(name: str) -> None:
    books(2500)
    status = run(name)
    assert (status.state, status.done, status.total, status.percent) == (
        "completed",
        2500,
        2500,
        100,
    )
    assert counters() == {1: 2500}
    if not name.startswith("Count"):
        wrong = "SELECT id FROM shelf_book WHERE sort_title IS DISTINCT FROM lower(title)"
        assert execute(wrong) == []
