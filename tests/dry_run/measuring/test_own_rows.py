"""Rows that a dry run writes for itself and rolls back: an index build reads them, too."""

from __future__ import annotations

import pytest
from django.db import connection, models
from django.db.migrations import AddConstraint, AddField, AddIndex, AlterField, CreateModel, RunSQL
from django.db.migrations.operations.base import Operation

from tests.cases.migrations_on_disk import Cases
from tests.management.test_migrate_dryrun import in_json

ROWS = 50
BUILDS: dict[str, Operation] = {
    "index": AddIndex("order", models.Index(fields=["amount"], name="order_amount")),
    "unique": AddConstraint(
        "order", models.UniqueConstraint(fields=["number"], name="order_number")
    ),
    "two indexes": AlterField("order", "name", models.CharField(max_length=20, unique=True)),
    "rewrite": AlterField("order", "number", models.BigIntegerField()),
}


@pytest.fixture
def tried(cases: Cases) -> Cases:
    """A table that both releases were tried on before the migration that builds."""
    cases.add(
        "0001_base",
        CreateModel(
            "Order",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=20)),
                ("number", models.IntegerField()),
                ("amount", models.IntegerField()),
            ],
        ),
        RunSQL(
            "INSERT INTO cases_order (name, number, amount)"
            f" SELECT 'n' || i, i, i FROM generate_series(1, {ROWS}) i",
            RunSQL.noop,
        ),
    )
    cases.migrate()
    connection.cursor().execute("ANALYZE cases_order")
    cases.add("0002_more", AddField("order", "more", models.IntegerField(null=True)))
    return cases


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("where", [(), ("--clone",)], ids=["", "clone"])
def test_a_build_is_charged_with_the_rows_of_the_table(
    tried: Cases, name: str, where: tuple[str, ...]
) -> None:
    tried.add("0003_build", BUILDS[name])
    document = in_json("cases", *where)
    (operation,) = document["migrations"][-1]["operations"]
    scans = [scan for each in operation["statements"] for scan in each["scans"]]
    assert scans
    assert {scan["relation"] for scan in scans} == {"cases_order"}
    assert [scan["rows"] for scan in scans] == [ROWS * scan["passes"] for scan in scans]


@pytest.mark.parametrize("where", [(), ("--clone",)], ids=["", "clone"])
def test_a_build_that_fails_is_charged_with_no_more_rows_than_there_are(
    tried: Cases, where: tuple[str, ...]
) -> None:
    connection.cursor().execute("UPDATE cases_order SET number = 1")
    connection.cursor().execute("VACUUM ANALYZE cases_order")
    tried.add("0003_build", BUILDS["unique"])
    migration = in_json("cases", *where, code=1)["migrations"][-1]
    (statement,) = migration["operations"][0]["statements"]
    assert migration["error"]["type"] == "UniqueViolation"
    assert [scan["rows"] for scan in statement["scans"]] == [ROWS]
