"""A new table under an old name: what a later migration does to it blocks those who use it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from django.db.migrations import Migration

from django_confiture.dry_run.results import MigrationResult, Report
from tests.support.clone import both_ways, source
from tests.support.dry_run import migration, rehearse, runs, table

__all__ = ["source"]

SWAPS = (
    "CREATE TABLE dry_copy (LIKE dry_row INCLUDING ALL)",
    "INSERT INTO dry_copy SELECT * FROM dry_row",
    "ALTER TABLE dry_row RENAME TO dry_old",
    "ALTER TABLE dry_copy RENAME TO dry_row",
)
DROPS = (
    "CREATE TABLE dry_copy AS SELECT * FROM dry_row",
    "DROP TABLE dry_row",
    "ALTER TABLE dry_copy RENAME TO dry_row",
)
IN_CODE = (f"DO $$ BEGIN {'; '.join(DROPS)}; END $$",)
RECREATED = ("DROP TABLE dry_row", "CREATE TABLE dry_row (id int, number int)")
REWRITE = "ALTER TABLE dry_row ALTER number TYPE bigint"


def report_of(swap: Sequence[str], *later: str, atomic: bool = True) -> Report:
    return rehearse(*plan_of(swap, *later, atomic=atomic))


def plan_of(swap: Sequence[str], *later: str, atomic: bool = True) -> list[Migration]:
    swapping = migration(*map(runs, swap), name="0001_swap", atomic=atomic)
    return [swapping, migration(*map(runs, later), name="0002_later")]


def last(report: Report) -> MigrationResult:
    assert report.error is None
    return report.migrations[-1]


@pytest.mark.parametrize("swap", [SWAPS, DROPS, IN_CODE, RECREATED])
@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.usefixtures("untouched")
def test_a_rewrite_after_the_swap_blocks_everyone(swap: Sequence[str], atomic: bool) -> None:
    result = last(report_of(swap, REWRITE, atomic=atomic))

    altered = table(result, "dry_row")
    assert altered.strongest_lock == "AccessExclusiveLock"
    assert altered.rewritten
    assert altered.reads_blocked_ms > 0
    assert "type-change-rewrite" in [each.id for each in result.findings]


@pytest.mark.usefixtures("untouched")
def test_an_index_after_the_swap_blocks_writers() -> None:
    result = last(report_of(SWAPS, "CREATE INDEX dry_index ON dry_row (number)"))

    (statement,) = result.operations[0].statements
    assert [each.mode for each in statement.locks] == ["ShareLock"]
    assert statement.indexes_built == ("dry_index",)
    assert table(result, "dry_row").writes_blocked_ms > 0


@pytest.mark.usefixtures("untouched")
def test_rows_written_after_the_swap_are_counted() -> None:
    result = last(report_of(SWAPS, "UPDATE dry_row SET number = 0 WHERE id <= 10"))

    assert table(result, "dry_row").rows_written == 10


@pytest.mark.usefixtures("untouched")
def test_the_migration_that_swaps_has_no_part_in_it() -> None:
    """No one else can use the new table before it commits."""
    report = rehearse(migration(*map(runs, (*SWAPS, REWRITE))))

    assert not table(report.migrations[0], "dry_row").rewritten


@pytest.mark.usefixtures("untouched")
def test_a_table_with_a_name_of_its_own_is_left_out() -> None:
    created = ("CREATE TABLE dry_new (id int)", "ALTER TABLE dry_row RENAME TO dry_old")
    result = last(report_of(created, "ALTER TABLE dry_new ALTER id TYPE bigint"))

    assert [each.relation for each in result.tables] == []


@pytest.mark.usefixtures("untouched")
def test_two_swaps_in_a_row() -> None:
    again = (*(each.replace("dry_old", "dry_older") for each in SWAPS),)
    plan = [
        migration(*map(runs, texts), name=f"{number:04}_x")
        for number, texts in enumerate((SWAPS, again, (REWRITE,)))
    ]

    assert table(last(rehearse(*plan)), "dry_row").rewritten


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("swap", [SWAPS, IN_CODE])
def test_a_clone_shows_the_same(swap: Sequence[str]) -> None:
    index = "CREATE INDEX dry_index ON dry_row (number)"
    rolled_back, on_a_copy = both_ways(*plan_of(swap, REWRITE, index))

    for report in (rolled_back, on_a_copy):
        altered = table(last(report), "dry_row")
        assert altered.strongest_lock == "AccessExclusiveLock"
        assert altered.rewritten
        assert altered.rows_written == 0
        built = [each.indexes_built for each in last(report).operations[1].statements]
        assert built == [("dry_index",)]
