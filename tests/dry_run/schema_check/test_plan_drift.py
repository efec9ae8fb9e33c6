"""``schema-differs-from-models``: what a plan leaves different from its models."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models
from django.db.migrations import (
    AddField,
    AddIndex,
    AlterField,
    CreateModel,
    RenameField,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation

from tests.cases.migrations_on_disk import Cases
from tests.management.test_migrate_dryrun import in_json

ID = "schema-differs-from-models"


@pytest.fixture
def base(cases: Cases) -> Cases:
    cases.add(
        "0001_base",
        CreateModel(
            "Order",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=20)),
                ("amount", models.IntegerField()),
                ("note", models.TextField(null=True)),
            ],
        ),
        CreateModel("Other", [("id", models.BigAutoField(primary_key=True))]),
    )
    cases.migrate()
    return cases


def drift(*args: str) -> dict[str, list[str]]:
    """Return table → evidence of the findings of a dry run that passes."""
    document = in_json("cases", *args)
    assert document["outcome"] == "passed", document["migrations"]
    found = [each for m in document["migrations"] for each in m["findings"] if each["id"] == ID]
    assert all((each["severity"], each["basis"]) == ("danger", "measured") for each in found)
    return {each["relation"]: each["evidence"] for each in found}


def only_in_state(*operations: Operation, sql: str = "") -> SeparateDatabaseAndState:
    return SeparateDatabaseAndState([RunSQL(sql, RunSQL.noop)] if sql else [], list(operations))


WIDER = AlterField("order", "name", models.CharField(max_length=40, db_index=True))
INDEX = AddIndex("order", models.Index(fields=["amount"], name="order_amount"))

PLANTED: dict[str, tuple[list[Operation], str]] = {
    "half of an AlterField": (
        [only_in_state(WIDER, sql="CREATE INDEX cases_i ON cases_order (name);"
                       " CREATE INDEX cases_l ON cases_order (name varchar_pattern_ops)")],
        "column name of cases_order is character varying(20) NOT NULL",
    ),
    "type": (
        [only_in_state(AlterField("order", "amount", models.BigIntegerField()))],
        "column amount of cases_order is integer NOT NULL; the models have bigint NOT NULL",
    ),
    "null": (
        [only_in_state(AlterField("order", "amount", models.IntegerField(null=True)))],
        "column amount of cases_order is integer NOT NULL; the models have integer",
    ),
    "rename": (
        [only_in_state(RenameField("order", "amount", "total"))],
        "column total of cases_order is missing",
    ),
    "index": ([only_in_state(INDEX)], "index order_amount of cases_order is missing"),
    "column in the database": (
        [RunSQL("ALTER TABLE cases_order ADD extra int NOT NULL DEFAULT 1;"
                " ALTER TABLE cases_order ALTER extra DROP DEFAULT", RunSQL.noop)],
        "column extra of cases_order is in the database alone: integer NOT NULL",
    ),
    "constraint in the database": (
        [RunSQL("ALTER TABLE cases_order ADD CONSTRAINT c CHECK (amount > 0)", RunSQL.noop)],
        "constraint c of cases_order is in the database alone: CHECK ((amount > 0))",
    ),
    "table": (
        [only_in_state(CreateModel("New", [("id", models.BigAutoField(primary_key=True))]))],
        "table cases_new is missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_what_a_plan_leaves_different(base: Cases, name: str) -> None:
    operations, wanted = PLANTED[name]
    base.add("0002_case", *operations)
    ((table, evidence),) = drift().items()
    assert table in ("cases_order", "cases_new")
    assert any(line.startswith(wanted) for line in evidence), evidence


SAME: dict[str, list[Operation]] = {
    "django's own": [WIDER, INDEX, RenameField("order", "note", "remark"),
                     AddField("order", "other", models.ForeignKey("cases.Other", models.CASCADE,
                                                                  null=True))],
    "both halves": [SeparateDatabaseAndState(
        [RunSQL("CREATE INDEX order_amount ON cases_order (amount)", RunSQL.noop)], [INDEX])],
    "an index for reports": [RunSQL("CREATE INDEX r ON cases_order (note)", RunSQL.noop)],
    "a column for the release before": [
        RunSQL("ALTER TABLE cases_order ADD old int", RunSQL.noop)],
    "a default that stays": [
        RunSQL("ALTER TABLE cases_order ALTER amount SET DEFAULT 1", RunSQL.noop)],
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_no_statement_of_the_models_meets_is_left_alone(base: Cases, name: str) -> None:
    base.add("0002_case", *SAME[name])
    assert drift() == {}


def test_what_was_different_before_is_apart(base: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE cases_order ALTER name TYPE varchar(10)")
    base.add("0002_case", AddField("order", "extra", models.IntegerField(null=True)))
    document: dict[str, Any] = in_json("cases")
    assert not [e for m in document["migrations"] for e in m["findings"] if e["id"] == ID]
    assert (
        "Already different from the models before the plan: column name of cases_order is "
        "character varying(10) NOT NULL; the models have character varying(20) NOT NULL."
    ) in document["warnings"]


def test_what_a_later_migration_mends_is_no_difference(base: Cases) -> None:
    base.add("0002_state", only_in_state(INDEX))
    base.add("0003_index", RunSQL("CREATE INDEX order_amount ON cases_order (amount)", RunSQL.noop))
    assert drift() == {}


def test_it_is_at_the_last_migration_that_touched_the_table(base: Cases) -> None:
    base.add("0002_case", RunSQL("ALTER TABLE cases_order ALTER amount TYPE bigint", RunSQL.noop))
    base.add("0003_other", RunSQL("ALTER TABLE cases_other ADD x int", RunSQL.noop))
    document = in_json("cases")
    ids = {m["name"]: [each["id"] for each in m["findings"]] for m in document["migrations"]}
    assert ID in ids["0002_case"]
    assert ID not in ids["0003_other"]


def test_it_can_be_silenced(base: Cases, settings: Any) -> None:
    settings.CONFITURE = {"SILENCED": {"cases.*": {ID: "the view goes next week"}}}
    base.add("0002_case", *PLANTED["index"][0])
    document = in_json("cases")
    (found,) = [e for m in document["migrations"] for e in m["findings"] if e["id"] == ID]
    assert found["silenced"] == "the view goes next week"


def test_a_clone_says_the_same(base: Cases) -> None:
    base.add("0002_case", *PLANTED["type"][0])
    assert list(drift("--clone")) == ["cases_order"]
