"""Rows that were written and rolled back: forecast, counted while they pile up, and limited."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, models
from django.db.migrations import (
    AddField,
    AlterField,
    CreateModel,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from pytest_django import Settings

from django_confiture import DryRunExecutor, Hook, HookContext, HookResult, RunHook
from django_confiture.dry_run.measuring.planned_writes import Written, written
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parsing.parser import parse
from django_confiture.exceptions import DryRunStopped
from tests.cases.migrations_on_disk import Cases, query
from tests.management.test_migrate_dryrun import ID, Ran, dry_run, in_json
from tests.support.dry_run import executes, migration, plain_connection, python, runs

ROWS = 2000
WIDTH = 1000
FIELDS: list[tuple[str, models.Field[Any, Any]]] = [
    ID,
    ("text", models.TextField(default="")),
    ("number", models.IntegerField(null=True, db_index=True)),
]
NUMBER = models.IntegerField(db_index=True, default=1)


@pytest.fixture
def big(cases: Cases, settings: Settings) -> Cases:
    """Give a table of about 2 MB, with a limit of 1 MB."""
    settings.CONFITURE = {"DRY_RUN": {"MAX_DEAD_SPACE": "1MB"}}
    cases.add("0001_big", CreateModel("Big", FIELDS), CreateModel("Small", FIELDS))
    cases.migrate()
    fill("cases_big", ROWS)
    fill("cases_small", 10)
    return cases


def fill(table: str, rows: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (text, number) SELECT repeat('x', {WIDTH}),"
            f" CASE WHEN i % 4 = 0 THEN NULL ELSE i END FROM generate_series(1, {rows}) i;"
            f"ANALYZE {table}"
        )


def refused(ran: Ran) -> str:
    assert (ran.code, ran.out) == (2, "")
    assert "Rehearsing" not in ran.err
    return ran.err.rpartition("CommandError: ")[2]


def forecast(cases: Cases, *operations: Operation) -> list[tuple[str, int, int]]:
    cases.add("0002_case", *operations)
    found = in_json("cases", "--allow-dead-space")["preflight"]
    assert found["max_dead_bytes"] is None
    return [(each["relation"], each["rows"], each["size_bytes"]) for each in found["dead_space"]]


@pytest.fixture
def bloated(big: Cases) -> Cases:
    """Leave the dead rows of four dry runs in it, which no VACUUM has seen."""
    with plain_connection() as plain:
        plain.execute("ALTER TABLE cases_big SET (autovacuum_enabled = false)")
        for _ in range(4):
            with plain.transaction(force_rollback=True):
                plain.execute("UPDATE cases_big SET text = reverse(text) || id")
    return big


# Foretold from the plan.


def test_a_plan_that_leaves_too_much_is_refused(big: Cases) -> None:
    big.add("0002_case", runs("UPDATE cases_big SET number = 1"))

    line = refused(dry_run("cases"))

    assert line.startswith("The plan would leave about 2 MB of dead space, 2 MB of it in cases_big")
    assert line.endswith(
        " (2,000 rows), and MAX_DEAD_SPACE is 1 MB; pass --allow-dead-space where VACUUM may clear "
        "that, or rehearse on a copy."
    )


def test_the_flag_lets_it_pass(big: Cases) -> None:
    big.add("0002_case", runs("UPDATE cases_big SET number = 1"))

    ran = dry_run("cases", "--allow-dead-space")

    assert ran.code == 0
    assert "  leaves    up to 2 MB of dead space in cases_big, until VACUUM\n" in ran.err
    assert "stops at" not in ran.err


def test_no_limit_is_none(big: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"DRY_RUN": {"MAX_DEAD_SPACE": None}}
    big.add("0002_case", runs("UPDATE cases_big SET number = 1"))

    assert dry_run("cases").code == 0


def test_no_size(big: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"DRY_RUN": {"MAX_DEAD_SPACE": "much"}}

    assert dry_run("cases").err == (
        'CommandError: CONFITURE["DRY_RUN"]["MAX_DEAD_SPACE"] is \'much\', which is not a size; '
        'write a number and a unit, such as "512MB" or "1GB".'
    )


def test_the_forecast_is_what_it_then_leaves(big: Cases) -> None:
    big.add("0002_case", runs("UPDATE cases_big SET number = number + 1"))

    document = in_json("cases", "--allow-dead-space")

    (found,) = document["preflight"]["dead_space"]
    assert found["rows"] == ROWS
    assert abs(found["size_bytes"] - document["dead_bytes"]) < 0.3 * document["dead_bytes"]


EVERY = ("cases_big", ROWS)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        pytest.param(runs("UPDATE cases_big SET number = 1"), EVERY, id="update"),
        pytest.param(
            runs("UPDATE cases_big SET number = 1 WHERE id <= 500"), ("cases_big", 500), id="some"
        ),
        pytest.param(
            RunSQL([("UPDATE cases_big SET number = %s WHERE number IS NULL", [7])]),
            ("cases_big", 500),
            id="with parameters",
        ),
        pytest.param(
            RunSQL([("UPDATE cases_big SET number = 1 WHERE text LIKE 'x%%' AND id > %s", [7])]),
            ("cases_big", ROWS // 3),
            id="with parameters of unknown effect",
        ),
        pytest.param(
            runs("UPDATE cases_big SET number = 1; UPDATE cases_big SET number = 2"),
            ("cases_big", 2 * ROWS),
            id="twice",
        ),
        pytest.param(
            runs("WITH x AS (UPDATE cases_big SET number = 1 RETURNING 1) SELECT * FROM x"),
            EVERY,
            id="in a CTE",
        ),
        pytest.param(
            runs("INSERT INTO cases_small (text) SELECT text FROM cases_big"),
            ("cases_small", ROWS),
            id="insert",
        ),
        pytest.param(
            SeparateDatabaseAndState([runs("UPDATE cases_big SET number = 1")]),
            EVERY,
            id="separate",
        ),
        pytest.param(
            AlterField("big", "number", NUMBER), ("cases_big", ROWS // 4), id="null to not null"
        ),
        pytest.param(
            AlterField("big", "number", models.IntegerField(db_index=True, db_default=1)),
            ("cases_big", ROWS // 4),
            id="null to not null with a default of the database's",
        ),
    ],
)
def test_what_is_forecast(big: Cases, operation: Operation, expected: tuple[str, int]) -> None:
    ((relation, rows, size),) = forecast(big, operation)

    assert relation == expected[0]
    assert rows == pytest.approx(expected[1], rel=0.05, abs=5)
    assert size == pytest.approx(rows * (WIDTH + 100), rel=0.3)


@pytest.mark.parametrize("analyzed", ["ANALYZE", ""], ids=["analyzed", "not"])
def test_rows_for_a_table_of_one_row_and_much_room(big: Cases, analyzed: str) -> None:
    """Its bytes for each row are 2 MB, which says nothing of the rows to come."""
    fill("cases_small", ROWS)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM cases_small WHERE id < (SELECT max(id) FROM cases_small)")
        cursor.execute("VACUUM cases_small")
        if analyzed:
            cursor.execute("ANALYZE cases_small")

    many = "INSERT INTO cases_small (text) SELECT 'x' FROM generate_series(1, 1000000)"
    ((relation, rows, size),) = forecast(big, runs(f"DO $$BEGIN END$$; {many}"))

    assert (relation, rows) == ("cases_small", 1_000_000)
    assert 60 * rows < size < 250 * rows


@pytest.mark.parametrize(
    ("statement", "table", "rows"),
    [
        ("UPDATE cases_big SET number = 1", "cases_big", ROWS),
        ("UPDATE cases_big SET number = 1 WHERE number IS NULL", "cases_big", ROWS // 4),
        ("INSERT INTO cases_small (text) SELECT text FROM cases_big", "cases_small", ROWS),
    ],
    ids=["all", "some", "elsewhere"],
)
def test_dead_rows_that_are_there_are_not_written_again(
    bloated: Cases, statement: str, table: str, rows: int
) -> None:
    ((relation, forecast_rows, size),) = forecast(bloated, runs(statement))

    assert relation == table
    assert forecast_rows == pytest.approx(rows, rel=0.2)
    assert size == pytest.approx(rows * WIDTH, rel=0.3)


def test_dead_rows_do_not_stop_a_data_migration(bloated: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"DRY_RUN": {"MAX_DEAD_SPACE": "4MB"}}
    bloated.add("0002_case", executes("UPDATE cases_big SET number = 1"))

    assert dry_run("cases").code == 0


def test_rows_of_the_plan_itself_count(bloated: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"DRY_RUN": {"MAX_DEAD_SPACE": "12MB"}}
    double = "INSERT INTO cases_big (text) SELECT text FROM cases_big"
    update = "UPDATE cases_big SET number = 1"
    bloated.add("0002_case", executes(double), executes(double), executes(update))

    ran = dry_run("cases")

    assert ran.code == 2
    assert "Before a statement that would leave about" in ran.out


def test_a_column_that_is_still_to_be_added(big: Cases) -> None:
    add = AddField("big", "new", models.IntegerField(null=True))
    update = runs("UPDATE cases_big SET new = 1 WHERE new IS NULL")

    ((relation, rows, _size),) = forecast(big, add, update)

    assert (relation, rows) == EVERY


@pytest.mark.parametrize(
    "operation",
    [
        runs("DELETE FROM cases_big"),
        runs("TRUNCATE cases_big"),
        runs("ALTER TABLE cases_big ALTER number TYPE bigint"),
        runs("UPDATE cases_gone SET number = 1"),
        runs("INSERT INTO cases_gone SELECT * FROM cases_big"),
        AddField("big", "new", models.IntegerField(default=1)),
        AlterField("big", "number", models.BigIntegerField(null=True, db_index=True)),
        AlterField("big", "text", models.TextField(default="other")),
    ],
)
def test_what_leaves_nothing(big: Cases, operation: Operation) -> None:
    gone = runs("CREATE TABLE cases_gone (id bigint, text text, number integer)")

    assert forecast(big, gone, operation) == []


def test_backwards(big: Cases) -> None:
    big.add(
        "0002_case",
        RunSQL("SELECT 1", "UPDATE cases_big SET number = 1"),
        AlterField("small", "number", models.IntegerField(null=True)),
    )
    big.migrate()

    assert "2 MB of it in cases_big" in refused(dry_run("cases", "0001"))


# Counted while it runs.


def in_batches() -> None:
    with connection.cursor() as cursor:
        for start in range(0, ROWS, 100):
            batches.append(start)
            cursor.execute(
                "UPDATE cases_big SET number = 1 WHERE id > %s AND id <= %s", [start, start + 100]
            )


batches: list[int] = []


def with_the_orm(apps: Any, _editor: Any) -> None:
    big = apps.get_model("cases", "big").objects
    for start in range(0, ROWS, 100):
        big.filter(id__range=(start, start + 99)).update(number=1)


def row_by_row(apps: Any, _editor: Any) -> None:
    for each in apps.get_model("cases", "big").objects.all():
        each.number = 1
        each.save()


def swallowing() -> None:
    for start in range(0, ROWS, 100):
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE cases_big SET number = 1 WHERE id BETWEEN %s AND %s",
                    [start, start + 99],
                )
        except Exception:  # noqa: BLE001
            swallowed.append(start)


swallowed: list[int] = []


def creating(apps: Any, _editor: Any) -> None:
    model = apps.get_model("cases", "small")
    for _each in range(30):
        model.objects.bulk_create([model(text="x" * WIDTH) for _row in range(100)])


def in_a_function() -> None:
    with connection.cursor() as cursor:
        for start in range(0, ROWS, 100):
            cursor.execute(
                f"DO 'BEGIN UPDATE cases_big SET number = 1 WHERE id BETWEEN {start} AND"
                f" {start + 99}; END'"
            )


@pytest.mark.parametrize(
    ("code", "table"),
    [
        (in_batches, "cases_big"),
        (with_the_orm, "cases_big"),
        (row_by_row, "cases_big"),
        (swallowing, "cases_big"),
        (creating, "cases_small"),
        (in_a_function, "cases_big"),
    ],
)
def test_a_data_migration_is_stopped(big: Cases, code: Callable[..., None], table: str) -> None:
    big.add("0002_before", AddField("small", "x", models.IntegerField(null=True)))
    big.add("0003_case", python(code))
    big.add("0004_after", AddField("small", "y", models.IntegerField(null=True)))
    before = query("SELECT sum(number), count(*) FROM cases_big")
    size = query("SELECT pg_relation_size(%s)", table)[0][0]

    document = in_json("cases", code=2)

    assert [each["outcome"] for each in document["migrations"]] == ["passed", "not_run", "not_run"]
    assert document["outcome"] == "failed"
    error = document["migrations"][1]["error"]
    assert error["type"] == "DryRunStopped"
    assert error["message"].endswith(
        " of dead space, the dry run stopped, as MAX_DEAD_SPACE is 1 MB; pass --allow-dead-space "
        "where VACUUM may clear that, or rehearse on a copy."
    )
    assert error["operation"] == "Raw Python operation"
    assert 1024**2 < document["dead_bytes"] < 1.6 * 1024**2
    assert query("SELECT sum(number), count(*) FROM cases_big") == before
    grown = query("SELECT pg_relation_size(%s)", table)[0][0] - size
    assert grown < 1.6 * 1024**2
    assert connection.autocommit


def test_what_is_printed(big: Cases) -> None:
    big.add("0002_case", python(in_batches))

    ran = dry_run("cases")

    assert ran.code == 2
    assert "Traceback" not in ran.out + ran.err
    assert ran.out.startswith("Dry run of 1 migration: stopped partway\n")
    assert "cases.0002_case was stopped partway\n" in ran.out
    assert "With 1 MB of dead" in " ".join(ran.out.split())
    assert "Everything was rolled back." in ran.out


def test_the_flag_lets_it_run(big: Cases) -> None:
    big.add("0002_case", python(in_batches))

    document = in_json("cases", "--allow-dead-space")

    assert document["outcome"] == "passed"
    assert document["dead_bytes"] > 2 * 1024**2


def test_it_stops_soon_after_the_limit(big: Cases) -> None:
    batches.clear()
    big.add("0002_case", python(in_batches))

    assert dry_run("cases").code == 2
    assert 700 <= batches[-1] <= 1300


def all_at_once() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE cases_big SET number = %s WHERE id > %s", [1, 0])
        reached.append("the end")


reached: list[str] = []


def test_one_statement_that_is_too_much_is_not_sent(big: Cases, settings: Settings) -> None:
    """By the planner, which takes a comparison with an unknown value for a third of the rows."""
    settings.CONFITURE = {"DRY_RUN": {"MAX_DEAD_SPACE": "500kB"}}
    big.add("0002_case", python(all_at_once))

    document = in_json("cases", code=2)

    assert reached == []
    assert document["dead_bytes"] == 0
    message = document["migrations"][0]["error"]["message"]
    assert re.match(r"Before a statement that would leave about [678]\d\d kB of dead sp", message)


class Backfills(Hook):
    """A hook that writes."""

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        in_batches()
        return HookResult("AFTER_DDL", "Backfills")


def test_a_hook_is_stopped(big: Cases) -> None:
    big.add("0002_case", RunHook(Backfills, phase="AFTER_DDL"))

    document = in_json("cases", code=2)

    assert document["migrations"][0]["outcome"] == "not_run"
    assert "MAX_DEAD_SPACE is 1 MB" in document["migrations"][0]["error"]["message"]


@pytest.mark.parametrize(
    "operations",
    [
        pytest.param([runs("DELETE FROM cases_big")], id="delete"),
        pytest.param(
            [
                runs("ALTER TABLE cases_big ALTER id TYPE integer"),
                python(in_batches),
            ],
            id="a table that was rewritten, whose file is dropped",
        ),
        pytest.param(
            [
                runs("CREATE TABLE cases_copy AS SELECT * FROM cases_big"),
                runs("UPDATE cases_copy SET number = 1"),
            ],
            id="a new table",
        ),
    ],
)
def test_what_is_not_stopped(big: Cases, operations: list[Operation]) -> None:
    big.add("0002_case", *operations)

    document = in_json("cases", "--no-running-code")  # its attempts leave rows, too

    assert document["outcome"] == "passed"
    assert document["dead_bytes"] == 0


def test_space_that_is_free_already_is_no_new_dead_space(big: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO cases_big (text) SELECT text FROM cases_big")
        cursor.execute("DELETE FROM cases_big WHERE id > %s", [ROWS])
        cursor.execute("VACUUM (ANALYZE, TRUNCATE false) cases_big")
    big.add("0002_case", python(in_batches))

    document = dry_run("cases", "--format", "json").json

    assert document["outcome"] == "passed", document["migrations"][0]["error"]
    assert document["dead_bytes"] < 300_000


def test_a_table_that_was_never_analyzed(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"DRY_RUN": {"MAX_DEAD_SPACE": "100kB"}}
    cases.add("0001_small", CreateModel("Small", FIELDS))
    cases.migrate()
    cases.add("0002_case", python(creating))

    document = in_json("cases", code=2)

    assert document["migrations"][0]["outcome"] == "not_run"
    assert document["dead_bytes"] < 1024**2


def test_the_executor_stops_as_well(big: Cases) -> None:
    with pytest.raises(DryRunStopped, match="MAX_DEAD_SPACE is 1 MB"):
        DryRunExecutor().run(connection, migration(python(in_batches)))


def test_what_cannot_be_planned_is_forgotten_for_the_next(scratch: None) -> None:
    """A statement is prepared to be planned, and no rollback forgets it."""

    def found(sql: str) -> list[Written]:
        (statement,) = parse(sql, placeholders=True)
        return written(statement, session)

    with plain_connection() as plain:
        session = Session(plain)
        session.query("BEGIN")
        assert found("UPDATE dry_row SET number = 1 / 0 WHERE id = %s")[0].rows is None
        assert found("UPDATE dry_row SET number = 1 WHERE id = %s")[0].rows == 1
        assert session.query("SELECT name FROM pg_prepared_statements") == []
