"""LIMIT without ORDER BY, of a table that two migrations have changed: other rows, for real."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.db.migrations import Migration

from django_confiture.dry_run.recording.rows_by_chance import BY_CHANCE
from tests.support.dry_run import migration, python, rehearse, runs

pytestmark = pytest.mark.usefixtures("scratch")

FIRST = "UPDATE dry_row SET number = 0"
SECOND = "UPDATE dry_row SET number = 1 WHERE id < 500"
TAKES_SOME = "UPDATE dry_row SET code = 'x' WHERE id IN (SELECT id FROM dry_row LIMIT 20)"


def plan(*scripts: str, atomic: bool = True) -> list[Migration]:
    return [
        migration(runs(script), name=f"{number:04}_x", atomic=atomic)
        for number, script in enumerate(scripts, 1)
    ]


def reason_of_last(*migrations: Migration) -> str:
    report = rehearse(*migrations)
    assert report.outcome == "passed"
    return report.migrations[-1].operations[-1].reason or ""


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize(
    "statement",
    [
        TAKES_SOME,
        "SELECT name FROM dry_row LIMIT 5",
        "SELECT name FROM dry_row FETCH FIRST ROW ONLY",
        "DELETE FROM dry_row WHERE id = (SELECT id FROM dry_row WHERE number = 1 LIMIT 1)",
        "INSERT INTO dry_parent SELECT id + 5000, name FROM dry_row LIMIT 3",
        (
            "WITH moved AS (SELECT id FROM dry_row)"
            " UPDATE dry_row SET code = 'x' WHERE id IN (SELECT id FROM moved LIMIT 1)"
        ),
    ],
)
def test_it_is_marked(statement: str, *, atomic: bool) -> None:
    assert reason_of_last(*plan(FIRST, SECOND, statement, atomic=atomic)) == BY_CHANCE


@pytest.mark.parametrize(
    "statement",
    [
        TAKES_SOME.replace("LIMIT", "ORDER BY id LIMIT"),
        "SELECT name FROM dry_row WHERE id = 5 LIMIT 21",
        "SELECT 1 AS a FROM dry_row LIMIT 1",
        "UPDATE dry_row SET code = 'x' WHERE EXISTS (SELECT 1 FROM dry_row LIMIT 1)",
        "SELECT name FROM dry_parent LIMIT 1",
        "UPDATE dry_row SET code = (SELECT name FROM dry_parent LIMIT 1)",
        "SELECT name FROM dry_row",
    ],
)
def test_what_takes_no_row_rather_than_another_is_exact(statement: str) -> None:
    assert reason_of_last(*plan(FIRST, SECOND, statement)) == ""


@pytest.mark.parametrize(
    "scripts", [(FIRST, TAKES_SOME), ("SELECT 1", f"{FIRST}; {SECOND}; {TAKES_SOME}")]
)
def test_one_migration_leaves_rows_where_they_lie_for_real(scripts: tuple[str, ...]) -> None:
    assert reason_of_last(*plan(*scripts)) == ""


def test_batches_until_none_is_left_take_them_all() -> None:
    def batches() -> None:
        with connection.cursor() as cursor:
            while True:
                with transaction.atomic():
                    cursor.execute("SELECT id FROM dry_row WHERE code <> 'x' LIMIT 300")
                    ids = [number for (number,) in cursor.fetchall()]
                    if not ids:
                        return
                    cursor.execute("UPDATE dry_row SET code = 'x' WHERE id = ANY (%s)", [ids])

    before = plan(FIRST, SECOND)

    assert reason_of_last(*before, migration(python(batches), atomic=False)) == ""
