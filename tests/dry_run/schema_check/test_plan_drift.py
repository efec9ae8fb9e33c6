"""``schema-differs-from-models``: what a plan leaves different from its models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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
    "a foreign key that empties a column meanwhile": [
        AddField("order", "other", models.ForeignKey("cases.Other", models.CASCADE, null=True)),
        RunSQL(
            "ALTER TABLE cases_order ADD CONSTRAINT meanwhile FOREIGN KEY (other_id) REFERENCES"
            " cases_other (id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED NOT VALID",
            RunSQL.noop)],
    "a default that stays": [
        RunSQL("ALTER TABLE cases_order ALTER amount SET DEFAULT 1", RunSQL.noop)],
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_no_statement_of_the_models_meets_is_left_alone(base: Cases, name: str) -> None:
    base.add("0002_case", *SAME[name])
    assert drift() == {}


MADE = CreateModel(
    "Made",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=20, db_index=True)),
        ("other", models.ForeignKey("cases.Other", models.CASCADE)),
        ("orders", models.ManyToManyField("cases.Order")),
    ],
    {"unique_together": {("name", "other")}},
)
NARROWED = "ALTER TABLE cases_made ALTER name TYPE varchar(10)"
NARROWER = (
    "column name of cases_made is character varying(10) NOT NULL; the models have character "
    "varying(20) NOT NULL"
)


def sent(path: Path, run: Callable[[], object]) -> str:
    """Return what the driver sends to the server meanwhile, by its own trace."""
    connection.ensure_connection()
    raw = connection.connection
    with path.open("w") as trace:
        raw.pgconn.trace(trace.fileno())
        try:
            run()
        finally:
            raw.pgconn.untrace()
    return path.read_text()


def test_what_the_plan_makes_as_its_model_would_is_not_made_again(
    base: Cases, tmp_path: Path
) -> None:
    base.add("0002_made", MADE)
    base.add("0003_other", AddField("order", "other", models.IntegerField(null=True)))
    text = sent(tmp_path / "trace", lambda: drift() == {} or pytest.fail("there is none"))
    assert text.count('CREATE TABLE "cases_made" ') == 1
    assert text.count('CREATE TABLE "cases_made_orders" ') == 1
    assert text.count('CREATE TABLE "cases_order" ') == 1  # for the comparison


ADDED_LATER: dict[str, list[Operation]] = {
    "a column": [AddField("plain", "more", models.TextField(null=True))],
    "a column with a default": [AddField("plain", "more", models.IntegerField(default=1))],
    "null": [AlterField("plain", "amount", models.IntegerField(null=True))],
    "not null": [AlterField("plain", "note", models.TextField(default=""))],
    "a wider type": [AlterField("plain", "amount", models.BigIntegerField())],
    "a wider indexed text": [
        AlterField("plain", "name", models.CharField(max_length=40, db_index=True))],
    "an index": [AddIndex("plain", models.Index(fields=["amount"], name="plain_amount"))],
}  # fmt: skip
PLAIN = CreateModel(
    "Plain",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=20, db_index=True)),
        ("amount", models.IntegerField()),
        ("note", models.TextField(null=True)),
    ],
)


@pytest.mark.parametrize("name", ADDED_LATER)
def test_what_a_later_migration_adds_to_it_is_not_made_again(
    base: Cases, tmp_path: Path, name: str
) -> None:
    base.add("0002_plain", PLAIN)
    base.add("0003_later", *ADDED_LATER[name])
    text = sent(tmp_path / "trace", lambda: drift() == {} or pytest.fail("there is none"))
    assert text.count('CREATE TABLE "cases_plain" ') == 1


CHANGED_AFTERWARDS: dict[str, tuple[list[list[Operation]], str]] = {
    "in its own migration": ([[MADE, RunSQL(NARROWED, RunSQL.noop)]], NARROWER),
    "in a later one": ([[MADE], [RunSQL(NARROWED, RunSQL.noop)]], NARROWER),
    "by code": ([[MADE, RunSQL(f"DO $$ BEGIN {NARROWED}; END $$", RunSQL.noop)]], NARROWER),
    "by code of a later one": (
        [[MADE], [RunSQL(f"DO $$ BEGIN {NARROWED}; END $$", RunSQL.noop)]],
        NARROWER,
    ),
    "by dropping what it refers to": (
        [[MADE], [RunSQL("ALTER TABLE cases_other DROP CONSTRAINT cases_other_pkey CASCADE")]],
        "constraint cases_made_other_id_",
    ),
    "in the state alone": (
        [[MADE], [only_in_state(AlterField("made", "name", models.TextField(db_index=True)))]],
        "column name of cases_made is character varying(20) NOT NULL; the models have text",
    ),
    "before a column is added": (
        [[MADE, RunSQL(NARROWED, RunSQL.noop)],
         [AddField("made", "more", models.TextField(null=True))]],
        NARROWER,
    ),
    "by a column that is added otherwise": (
        [[MADE], [only_in_state(AddField("made", "more", models.TextField()),
                                sql="ALTER TABLE cases_made ADD more text")]],
        "column more of cases_made is text; the models have text NOT NULL",
    ),
    "by another default schema": (
        [[RunSQL("CREATE SCHEMA IF NOT EXISTS elsewhere; SET LOCAL search_path = elsewhere, public",
                 RunSQL.noop), CreateModel("Alone", MADE.fields[:2])]],
        "table cases_alone is missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED_AFTERWARDS)
def test_what_the_plan_makes_and_changes_past_its_model_is_found(base: Cases, name: str) -> None:
    plan, wanted = CHANGED_AFTERWARDS[name]
    for number, operations in enumerate(plan, start=2):
        base.add(f"{number:04}_case", *operations)
    found = [line for evidence in drift().values() for line in evidence]
    assert any(line.startswith(wanted) for line in found), found


def test_what_an_event_trigger_adds_to_a_new_table_is_found(base: Cases) -> None:
    base.add("0002_made", MADE)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION adds_a_column() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF to_regclass('public.cases_made') IS NOT NULL"
            " THEN ALTER TABLE public.cases_made ADD IF NOT EXISTS extra int NOT NULL; END IF;"
            " END $$; CREATE EVENT TRIGGER adds_a_column ON ddl_command_end"
            " WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION adds_a_column()"
        )
    try:
        (evidence,) = drift().values()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP EVENT TRIGGER adds_a_column; DROP FUNCTION adds_a_column()")
    assert evidence == ["column extra of cases_made is in the database alone: integer NOT NULL"]


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
