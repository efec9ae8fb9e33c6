"""Rows that a default stamps with now(): where the same time in all migrations matters."""

from __future__ import annotations

import pytest
from django.db.migrations import Migration

from tests.cases.migrations_on_disk import query
from tests.support.dry_run import for_real, migration, plain_connection, python, rehearse, runs

STAMPED = "CREATE TABLE dry_stamped (id int, at timestamptz DEFAULT now())"

STAMPS = """
    CREATE TABLE dry_unique (id int, at timestamptz DEFAULT CURRENT_TIMESTAMP);
    CREATE UNIQUE INDEX dry_at ON dry_unique (at);
    CREATE UNIQUE INDEX dry_id ON dry_unique (id);
"""
FIRST, SECOND = (f"INSERT INTO dry_stamped VALUES ({number})" for number in (2, 1))
EARLIEST = "UPDATE dry_row SET number = (SELECT id FROM dry_stamped ORDER BY at, id LIMIT 1)"


@pytest.fixture(autouse=True)
def _stamped(scratch: None) -> None:
    with plain_connection() as plain:
        plain.execute(STAMPED)


def in_turn(*scripts: str) -> list[Migration]:
    return [migration(runs(text), name=f"{n:04}_x") for n, text in enumerate(scripts)]


def reasons(*scripts: str) -> list[str]:
    """Return why an operation of migrations, each of one script, is not exact; ``""`` if it is."""
    results = rehearse(*in_turn(*scripts)).migrations
    return [operation.reason for each in results for operation in each.operations]


@pytest.mark.parametrize(
    "reads",
    [
        EARLIEST,
        "SELECT count(DISTINCT at) FROM dry_stamped",
        "SELECT id, at FROM dry_stamped ORDER BY 2",
        "DELETE FROM dry_stamped a USING dry_stamped b WHERE a.at < b.at",
    ],
)
def test_what_compares_stamps_of_two_migrations_is_not_exact(reads: str) -> None:
    *earlier, later = reasons(FIRST, SECOND, reads)

    assert not any(earlier)
    assert "A default has stamped rows of two migrations" in later


@pytest.mark.parametrize(
    "reads",
    [
        "SELECT id, at FROM dry_stamped ORDER BY id",
        "SELECT count(*) FROM dry_stamped",
        "UPDATE dry_stamped SET id = id + 1",
        "UPDATE dry_row SET number = 1",
        "CREATE INDEX ON dry_stamped (at)",
    ],
)
def test_what_only_reads_stamps_is_exact(reads: str) -> None:
    assert reasons(FIRST, SECOND, reads) == ["", "", ""]


def test_rows_that_are_only_changed_keep_their_stamps() -> None:
    changes = "UPDATE dry_stamped SET id = id + 1"

    assert reasons(FIRST, changes, "DELETE FROM dry_stamped WHERE at > '2001-01-01'") == [""] * 3


def test_the_order_of_stamps_differs_for_real() -> None:
    seen: list[int] = []
    note = python(lambda: seen.append(query("SELECT number FROM dry_row LIMIT 1")[0][0]))

    rehearse(*in_turn(FIRST, SECOND, EARLIEST), migration(note, name="0009_note"))
    for_real(*in_turn(FIRST, SECOND, EARLIEST), migration(note, name="0009_note"))

    assert seen == [1, 2]


@pytest.mark.parametrize("atomic", [True, False])
def test_a_unique_stamp_stops_the_dry_run_and_is_not_called_a_failure(atomic: bool) -> None:
    with plain_connection() as plain:
        plain.execute(STAMPS)
    texts = ("INSERT INTO dry_unique VALUES (1)", "INSERT INTO dry_unique VALUES (2)")

    def plan() -> list[Migration]:
        if not atomic:
            return [migration(*map(runs, texts), atomic=False)]
        return in_turn(*texts)

    report = rehearse(*plan())

    last = report.migrations[-1]
    assert (last.outcome, report.verdict) == ("not_run", "stopped")
    assert "The unique index dry_at covers a column" in last.operations[-1].reason
    assert any("stamped rows of two migrations" in each for each in report.warnings)
    assert for_real(*plan()) == ""


def test_a_new_unique_index_of_stamps_stops_the_dry_run() -> None:
    plan = in_turn(FIRST, SECOND, "CREATE UNIQUE INDEX ON dry_stamped (at)")

    report = rehearse(*plan)

    assert report.verdict == "stopped"
    assert "The new unique index of dry_stamped" in report.migrations[-1].operations[0].reason
    assert for_real(*plan) == ""


def test_another_unique_index_of_the_table_still_fails() -> None:
    with plain_connection() as plain:
        plain.execute(STAMPS)
    texts = (
        "INSERT INTO dry_unique VALUES (1)",
        "INSERT INTO dry_unique VALUES (1, '2001-01-01')",
    )

    report = rehearse(*in_turn(*texts))

    assert report.migrations[-1].outcome == "failed"
    assert 'violates unique constraint "dry_id"' in for_real(*in_turn(*texts))
