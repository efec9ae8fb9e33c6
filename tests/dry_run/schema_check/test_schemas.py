"""Tables whose ``db_table`` names a schema are compared like all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, models
from django.db.migrations import AddField, CreateModel, RunSQL
from django.db.migrations.operations.base import Operation

from tests.cases.migrations_on_disk import Cases
from tests.dry_run.schema_check.test_drift import differences, drift
from tests.management.test_migrate_dryrun import in_json
from tests.support.dry_run import plain_connection

SCHEMA = "cases_else"
KEY = ("id", models.BigAutoField(primary_key=True))


def made() -> list[Operation]:
    """Return models of another schema, in both ways to write that, and what refers to them."""
    key: Any = models.ForeignKey
    return [
        RunSQL(f"CREATE SCHEMA {SCHEMA}", f"DROP SCHEMA {SCHEMA} CASCADE"),
        CreateModel(
            "Customer",
            [KEY, ("code", models.CharField(max_length=9, unique=True))],
            {"db_table": f'"{SCHEMA}"."customer"', "db_table_comment": "who buys"},
        ),
        CreateModel(
            "Order",
            [
                KEY,
                ("name", models.CharField(max_length=9, db_index=True, db_default="x")),
                ("amount", models.PositiveIntegerField()),
                ("customer", key("cases.Customer", models.CASCADE, null=True)),
                ("before", key("cases.Order", models.CASCADE, null=True)),
                ("helpers", models.ManyToManyField("cases.Customer", related_name="+")),
            ],
            {
                "db_table": f'{SCHEMA}"."Order',
                "indexes": [models.Index(fields=["amount"], name="cases_amount")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(amount__gt=0), name="cases_c"),
                    models.UniqueConstraint(fields=["name", "amount"], name="cases_u"),
                ],
            },
        ),
        CreateModel("Note", [KEY, ("order", key("cases.Order", models.CASCADE))]),
    ]


@pytest.fixture
def elsewhere(cases: Cases) -> Iterator[Cases]:
    cases.add("0001_made", *made())
    cases.migrate()
    try:
        yield cases
    finally:
        connection.close()
        with plain_connection() as observer:
            observer.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


@pytest.mark.parametrize("path", ["public", f"{SCHEMA}, public", f"public, {SCHEMA}"])
def test_what_django_makes_is_as_the_models_say(elsewhere: Cases, path: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path = {path}")
        assert drift() == (0, "'default' matches the models of its applied migrations.\n")
        cursor.execute("RESET search_path")


def test_each_difference_is_found(elsewhere: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f'ALTER TABLE {SCHEMA}."Order" ALTER amount DROP NOT NULL, DROP CONSTRAINT cases_c;'
            f" DROP INDEX {SCHEMA}.cases_amount;"
            f' ALTER TABLE {SCHEMA}."Order" ADD CONSTRAINT more FOREIGN KEY (customer_id)'
            f' REFERENCES {SCHEMA}."Order";'
            f" ALTER TABLE {SCHEMA}.customer DROP CONSTRAINT customer_pkey CASCADE"
        )
    found = {(each["object"], each["table"], each["name"]) for each in differences()}
    own, order = f"{SCHEMA}.customer", f"{SCHEMA}.Order"
    assert {each for each in found if "_fk_" not in each[2]} == {
        ("column", order, "amount"),
        ("constraint", order, "cases_c"),
        ("index", order, "cases_amount"),
        ("constraint", order, "more"),
        ("constraint", own, "customer_pkey"),
    }
    assert {table for _, table, name in found if "_fk_" in name} == {order, f"{order}_helpers"}


def test_a_missing_table_is_named_as_postgresql_names_it(elsewhere: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'DROP TABLE {SCHEMA}."Order_helpers"')
    code, out = drift()
    assert code == 1
    assert f"table {SCHEMA}.Order_helpers is missing; the models have a table" in out


def test_a_plan_that_changes_it_past_its_model(elsewhere: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER TABLE {SCHEMA}."Order" ALTER before_id TYPE integer')
    script = f'ALTER TABLE {SCHEMA}."Order" ALTER name TYPE varchar(20)'
    elsewhere.add("0002_sql", RunSQL(script, RunSQL.noop))
    document = in_json("cases")
    (found,) = [
        each
        for result in document["migrations"]
        for each in result["findings"]
        if each["id"] == "schema-differs-from-models"
    ]
    assert found["relation"] == f"{SCHEMA}.Order"
    (line,) = found["evidence"]
    assert line.startswith(f"column name of {SCHEMA}.Order is character varying(20) NOT NULL")
    assert any(
        each.startswith("Already different") and f"column before_id of {SCHEMA}.Order" in each
        for each in document["warnings"]
    )


def test_a_plan_that_changes_it_with_its_model(elsewhere: Cases) -> None:
    elsewhere.add("0002_more", AddField("order", "more", models.TextField(null=True)))
    document = in_json("cases")
    assert "schema-differs-from-models" not in str(document["migrations"])
    assert "was not compared" not in str(document["warnings"])
