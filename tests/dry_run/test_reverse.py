"""``migrate_dryrun --reverse``: the plan undone, and the schema compared with the one before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.db.migrations import (
    AddField,
    AlterField,
    CreateModel,
    DeleteModel,
    RemoveField,
    RemoveIndex,
    RenameField,
    RenameIndex,
    RenameModel,
    RunPython,
    RunSQL,
)
from django.db.migrations.exceptions import IrreversibleError
from django.db.models.signals import pre_migrate

from tests.cases.migrations_on_disk import Cases, query

Outcome = tuple[int, dict[str, Any]]


def reverse(*arguments: str, **options: Any) -> Outcome:
    """Run the command; return its exit code and the JSON report."""
    code, output = run(*arguments, format="json", **options)
    return code, json.loads(output)


def run(*arguments: str, **options: Any) -> tuple[int, str]:
    out = StringIO()
    code = 0
    try:
        call_command(
            "migrate_dryrun", *arguments, reverse=True, stdout=out, stderr=StringIO(), **options
        )
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, out.getvalue()


def differences(report: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (each["kind"], each["object"], each["relation"], each["name"])
        for each in report["reverse"]["differences"]
    ]


THING = CreateModel(
    "Thing",
    [
        ("id", models.AutoField(primary_key=True)),
        ("size", models.IntegerField()),
        ("note", models.TextField(null=True)),
    ],
    options={"indexes": [models.Index(fields=["size"], name="cases_size_idx")]},
)
OWNED = CreateModel(
    "Owned",
    [
        ("id", models.AutoField(primary_key=True)),
        ("thing", models.ForeignKey("cases.Thing", models.CASCADE)),
    ],
)


@pytest.fixture
def things(cases: Cases) -> Cases:
    """Give the app a table that is there before the plan."""
    cases.add("0001_thing", THING)
    cases.migrate()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO cases_thing (size) SELECT generate_series(1, 50)")
    return cases


# Reversible, and the same.


@pytest.fixture
def base(transactional_db: None) -> Iterator[None]:
    """Leave nothing but the first migration of the shop."""
    call_command("migrate", "shop", "0001", verbosity=0)
    yield
    call_command("migrate", "shop", verbosity=0)


@pytest.mark.usefixtures("base")
def test_all_migrations_of_the_shop_can_be_undone() -> None:
    code, report = reverse("shop")
    assert code == 0
    undone = report["reverse"]
    assert (undone["outcome"], undone["differences"], undone["notes"]) == ("same", [], [])
    names = [each["name"] for each in report["migrations"]]
    assert len(names) == 9
    assert [each["name"] for each in undone["migrations"]] == names[::-1]
    assert {each["direction"] for each in undone["migrations"]} == {"backward"}
    assert {each["direction"] for each in report["migrations"]} == {"forward"}
    assert all(each["outcome"] == "passed" for each in undone["migrations"])
    applied = query("SELECT count(*) FROM django_migrations WHERE app = 'shop'")
    assert applied == [(1,)]


def test_what_django_undoes_by_itself(things: Cases) -> None:
    things.add("0002_add", AddField("thing", "extra", models.TextField(default="x")), OWNED)
    things.add("0003_alter", AlterField("thing", "size", models.BigIntegerField()))
    things.add("0004_rename", RenameField("thing", "size", "width"))
    things.add("0005_model", RenameModel("Thing", "Item"))
    things.add("0006_index", RenameIndex("item", new_name="cases_new", old_name="cases_size_idx"))
    code, report = reverse("cases")
    assert report["reverse"]["error"] is None
    assert differences(report) == []
    assert (code, report["reverse"]["outcome"]) == (0, "same")
    assert [len(each["schema_changes"]) > 0 for each in report["reverse"]["migrations"]] == [
        True
    ] * 5


def test_non_atomic_migrations(things: Cases) -> None:
    index = models.Index(fields=["note"], name="cases_note")
    things.add("0002_index", AddIndexConcurrently("thing", index), atomic=False)
    code, report = reverse("cases")
    assert (code, report["reverse"]["outcome"]) == (0, "same")
    (undone,) = report["reverse"]["migrations"]
    assert undone["operations"][0]["rehearsed"] == "substituted"


def test_a_plan_that_goes_backwards_is_gone_forwards_again(things: Cases) -> None:
    things.add("0002_add", AddField("thing", "extra", models.TextField(null=True)))
    things.migrate()
    code, report = reverse("cases", "0001")
    assert (code, report["reverse"]["outcome"]) == (0, "same")
    assert [each["direction"] for each in report["migrations"]] == ["backward"]
    assert [each["direction"] for each in report["reverse"]["migrations"]] == ["forward"]


SQUASHED = """
from django.db import migrations
from tests.cases.migrations_on_disk import operations_of


class Migration(migrations.Migration):
    replaces = [("cases", "0001_thing"), ("cases", "0002_add")]
    operations = operations_of("{package}.0001_thing") + operations_of("{package}.0002_add")
"""


def squash(cases: Cases) -> None:
    cases.add("0002_add", AddField("thing", "extra", models.TextField(null=True)))
    cases.write("0001_squashed_0002_add", SQUASHED.format(package=cases.package.name))


def test_a_squashed_migration(cases: Cases) -> None:
    cases.add("0001_thing", THING)
    squash(cases)
    code, report = reverse("cases")
    assert [each["name"] for each in report["reverse"]["migrations"]] == ["0001_squashed_0002_add"]
    assert (code, report["reverse"]["outcome"]) == (0, "same")


def test_the_last_part_of_a_squashed_migration(things: Cases) -> None:
    squash(things)
    code, report = reverse("cases")
    assert [each["name"] for each in report["reverse"]["migrations"]] == ["0002_add"]
    assert (code, report["reverse"]["outcome"]) == (0, "same")


def test_columns_in_another_order_are_only_noted(things: Cases) -> None:
    things.add("0002_remove", RemoveIndex("thing", "cases_size_idx"), RemoveField("thing", "size"))
    code, report = reverse("cases")
    # The column was NOT NULL and its rows need a value, which Django has not.
    assert (code, report["reverse"]["outcome"]) == (1, "failed")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM cases_thing")
    code, report = reverse("cases")
    assert (code, report["reverse"]["outcome"]) == (0, "same")
    assert report["reverse"]["notes"] == [
        (
            "The columns of cases_thing are in another order than before, which matters only to "
            "SELECT *, and to INSERT and COPY without column names."
        )
    ]


# Another schema.


def test_an_index_that_went_with_its_column(things: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM cases_thing")
    things.add("0002_remove", RemoveField("thing", "size"))
    code, report = reverse("cases")
    assert (code, differences(report)) == (
        1,
        [("removed", "index", "cases_thing", "cases_size_idx")],
    )


def test_a_wrong_reverse_sql_is_a_precise_difference(things: Cases) -> None:
    things.add(
        "0002_sql",
        RunSQL(
            "ALTER TABLE cases_thing ADD code varchar(20), ALTER note SET NOT NULL;"
            " CREATE INDEX cases_code ON cases_thing (code); DROP INDEX cases_size_idx",
            "ALTER TABLE cases_thing ALTER code TYPE text, ALTER size TYPE bigint;"
            " CREATE INDEX cases_size_idx ON cases_thing (size DESC)",
        ),
    )
    with connection.cursor() as cursor:
        cursor.execute("UPDATE cases_thing SET note = ''")
    code, report = reverse("cases")
    assert (code, report["outcome"], report["reverse"]["outcome"]) == (1, "passed", "different")
    assert report["reverse"]["differences"] == [
        {
            "kind": kind,
            "object": what,
            "relation": "cases_thing",
            "name": name,
            "before": before,
            "after": after,
        }
        for kind, what, name, before, after in (
            ("added", "column", "code", None, "text"),
            ("changed", "column", "note", "text", "text NOT NULL"),
            ("changed", "column", "size", "integer NOT NULL", "bigint NOT NULL"),
            ("added", "index", "cases_code", None, "btree (code)"),
            ("changed", "index", "cases_size_idx", "btree (size)", "btree (size DESC)"),
        )
    ]
    code, text = run("cases", verbosity=1)
    assert code == 1
    lines = text.splitlines()
    assert "Reverse: Undone, but the schema is not as it was before" in lines
    assert "  + column cases_thing.code text" in lines
    assert "  ~ column cases_thing.note was text, is text NOT NULL" in lines


def test_a_table_that_a_noop_leaves_behind(things: Cases) -> None:
    things.add("0002_sql", RunSQL("CREATE TABLE cases_left (id int)", RunSQL.noop))
    code, report = reverse("cases")
    assert (code, report["reverse"]["outcome"]) == (1, "different")
    assert differences(report) == [
        ("added", "table", None, "cases_left"),
        ("added", "column", "cases_left", "id"),
    ]


def test_a_table_made_again_as_it_was_is_the_same(things: Cases) -> None:
    things.add("0002_delete", DeleteModel("Thing"))
    code, report = reverse("cases")
    assert (code, differences(report)) == (0, [])


# What can't be undone.


def nothing(apps: Any, schema_editor: Any) -> None:
    """Do nothing."""


def refuses(apps: Any, schema_editor: Any) -> None:
    raise IrreversibleError("not this way")


def test_the_irreversible_operation_is_named(things: Cases) -> None:
    things.add("0002_add", AddField("thing", "extra", models.TextField(null=True)))
    things.add("0003_python", AddField("thing", "more", models.TextField(null=True)))
    things.add(
        "0004_python",
        AlterField("thing", "size", models.BigIntegerField()),
        RunPython(nothing),
    )
    things.add("0005_last", AddField("thing", "last", models.TextField(null=True)))
    code, report = reverse("cases")
    assert (code, report["outcome"], report["reverse"]["outcome"]) == (1, "passed", "irreversible")
    error = report["reverse"]["error"]
    assert (error["type"], error["operation"]) == ("IrreversibleError", "Raw Python operation")
    assert error["message"].endswith("in cases.0004_python is not reversible")
    assert [(each["name"], each["outcome"]) for each in report["reverse"]["migrations"]] == [
        ("0005_last", "passed"),
        ("0004_python", "failed"),
        ("0003_python", "not_run"),
        ("0002_add", "not_run"),
    ]
    assert "Reverse: It can't be undone" in run("cases")[1]


def test_an_operation_that_refuses_by_itself(things: Cases) -> None:
    things.add("0002_python", RunPython(nothing, refuses))
    code, report = reverse("cases")
    assert (code, report["reverse"]["outcome"]) == (1, "irreversible")
    assert report["reverse"]["error"]["message"] == "not this way"


def test_a_reverse_that_fails(things: Cases) -> None:
    things.add("0002_sql", RunSQL("SELECT 1", "DROP TABLE cases_nowhere"))
    code, report = reverse("cases")
    assert (code, report["outcome"], report["reverse"]["outcome"]) == (1, "passed", "failed")
    assert report["error"] is None
    error = report["reverse"]["error"]
    assert error["type"] == "UndefinedTable"
    assert error["statement"] == "DROP TABLE cases_nowhere"
    assert "Reverse: Undoing it fails" in run("cases")[1].splitlines()


def test_a_reverse_that_tears_the_guards_down(things: Cases) -> None:
    things.add("0002_sql", RunSQL("SELECT 1", "CLOSE ALL"))
    with pytest.raises(CommandError, match="guards against commits") as caught:
        run("cases")
    assert caught.value.returncode == 2


def test_a_receiver_that_fails(things: Cases) -> None:
    things.add("0002_sql", RunSQL("SELECT 1", RunSQL.noop))

    def refuse(plan: Any, **_: object) -> None:
        if plan[0][1]:
            raise ValueError("not backwards")

    pre_migrate.connect(refuse)
    try:
        code, report = reverse("cases")
    finally:
        pre_migrate.disconnect(refuse)
    assert (code, report["reverse"]["outcome"]) == (1, "failed")
    assert report["reverse"]["error"]["message"] == "not backwards"


# When there is nothing to undo.


def test_a_plan_that_fails_is_not_undone(things: Cases) -> None:
    things.add("0002_sql", RunSQL("SELECT 1/0", RunSQL.noop))
    code, report = reverse("cases")
    assert (code, report["outcome"], report["reverse"]) == (1, "failed", None)


def test_an_empty_plan(things: Cases) -> None:
    code, report = reverse("cases")
    assert (code, report["migrations"], report["reverse"]) == (0, [], None)


# How it is shown.


def test_the_report_says_what_was_not_compared(things: Cases) -> None:
    things.add("0002_add", AddField("thing", "extra", models.TextField(null=True)))
    code, text = run("cases")
    assert code == 0
    assert "Reverse: Undone, and the schema is as it was before" in text.splitlines()
    assert "Rows were not compared: a reverse doesn't bring back what was deleted." in text
    assert "- column" not in text
    assert "  - column cases_thing.extra text" in run("cases", verbosity=2)[1].splitlines()


def test_progress_says_that_it_goes_backwards(things: Cases) -> None:
    things.add("0002_add", AddField("thing", "extra", models.TextField(null=True)))
    progress = StringIO()
    call_command("migrate_dryrun", "cases", reverse=True, stdout=StringIO(), stderr=progress)
    assert progress.getvalue().splitlines()[-2:] == [
        "  Rehearsing cases.0002_add... passed",
        "  Rehearsing cases.0002_add (backwards)... passed",
    ]


def test_a_key_without_an_index_is_found_although_the_undoing_drops_it(cases: Cases) -> None:
    cases.add("0001_tables", RunSQL("CREATE TABLE cases_a (id int PRIMARY KEY)", "SELECT 1"),
              RunSQL("CREATE TABLE cases_b (a_id int)", "SELECT 1"))  # fmt: skip
    cases.migrate()
    key = "ALTER TABLE cases_b ADD CONSTRAINT cases_key FOREIGN KEY (a_id) REFERENCES cases_a"
    cases.add("0002_key", RunSQL(key, "ALTER TABLE cases_b DROP CONSTRAINT cases_key"))

    code, report = reverse("cases")

    assert code == 0
    (migration,) = report["migrations"]
    assert "foreign-key-without-index" in {each["id"] for each in migration["findings"]}
