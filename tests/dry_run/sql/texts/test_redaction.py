"""Nothing that rows or parameters contain is in any output, unless it was asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError
from django.db import connection, models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    CreateModel,
    RunPython,
    RunSQL,
)
from django.db.migrations.operations.base import Operation
from django.db.models.signals import post_migrate
from psycopg import sql

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook
from django_confiture.dry_run.sql.texts import redaction
from django_confiture.exceptions import HookError
from tests.cases.migrations_on_disk import Cases
from tests.management.test_migrate_dryrun import connected, dry_run, in_json
from tests.support.dry_run import python, runs

SECRET = "s3cr3t"
NUMBER = "987654321"
ID = models.BigAutoField(primary_key=True)


@pytest.fixture
def people(cases: Cases) -> Cases:
    """Give two rows with the secret in them, twice the same."""
    fields: list[tuple[str, models.Field[Any, Any]]] = [
        ("id", ID),
        ("name", models.CharField(max_length=50, null=True)),
        ("salary", models.BigIntegerField(null=True)),
        ("other", models.IntegerField(null=True)),
    ]
    key: list[tuple[str, models.Field[Any, Any]]] = [
        ("code", models.CharField(max_length=50, primary_key=True)),
        ("number", models.IntegerField(null=True)),
    ]
    cases.add("0001_base", CreateModel("Person", fields), CreateModel("Keyed", key))
    cases.migrate()
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO cases_person (name, salary, other) VALUES ('{SECRET}', {NUMBER}, 7),"
            f" ('{SECRET}', {NUMBER}, 8), (NULL, NULL, NULL);"
            f"INSERT INTO cases_keyed VALUES ('{SECRET}', NULL)"
        )
    return cases


def person(apps: Any) -> Any:
    return apps.get_model("cases", "person").objects.filter(name__isnull=False).first()


def outputs(caplog: pytest.LogCaptureFixture, *args: str) -> str:
    """Return all that is printed or logged, tracebacks included."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "django_confiture"):
        text = dry_run("cases", "-v2", *args)
        document = dry_run("cases", "--format", "json", *args)
    logged = [json.dumps(vars(record), default=str) for record in caplog.records]
    assert text.code == document.code
    return "\n".join([text.out, text.err, document.out, document.err, caplog.text, *logged])


def passing(apps: Any, editor: Any) -> None:
    """Send values in every way that there is."""
    model = apps.get_model("cases", "person")
    model.objects.filter(name=SECRET).update(salary=NUMBER)
    model.objects.bulk_create([model(name=SECRET), model(name=SECRET)])
    list(model.objects.filter(name__contains=SECRET).values_list("name", flat=True))
    raw: psycopg.Connection[Any] = editor.connection.connection
    own = person(apps).name
    editor.execute("UPDATE cases_person SET name = %s", [own])
    raw.execute(sql.SQL("UPDATE cases_person SET name = {}").format(sql.Literal(own)))
    raw.execute(sql.SQL("SELECT {} FROM cases_person").format(sql.Literal(own)))
    raw.execute(f"UPDATE cases_person SET name = '{own}', salary = {NUMBER}")
    raw.execute(f"SELECT 1; UPDATE cases_person SET name = E'{own}' WHERE salary > {NUMBER}.5")
    raw.execute(f"DO $$ BEGIN UPDATE cases_person SET name = '{own}'; END $$")
    raw.execute(f"CREATE TABLE cases_made AS SELECT '{own}' AS name")
    raw.execute(f"/* {own} */UPDATE/**/cases_person -- {own}\n SET name = '{own}' /*{own}*/")
    with suppress(psycopg.Error), raw.transaction():
        raw.execute(f"--{own}\nnonsense")
    psycopg.ClientCursor(raw).execute("UPDATE cases_person SET name = %s", [own])
    with raw.cursor() as cursor:
        cursor.executemany("UPDATE cases_person SET name = %s WHERE salary = %s", [(own, NUMBER)])
        with cursor.copy("COPY cases_person (name) FROM STDIN") as copy:
            copy.write_row([own])
        with cursor.copy(f"COPY (SELECT '{own}') TO STDOUT") as copy:
            list(copy)
        list(cursor.stream(f"SELECT '{own}' FROM cases_person"))


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(python(passing), id="every way to send a value"),
        pytest.param(RunSQL([("UPDATE cases_person SET name = %s", [SECRET])]), id="RunSQL"),
    ],
)
def test_what_passes_tells_no_value(
    people: Cases, caplog: pytest.LogCaptureFixture, operation: Operation
) -> None:
    people.add("0002_case", operation)

    document = in_json("cases")
    assert document["outcome"] == "passed"
    assert document["migrations"][0]["operations"][0]["statements"]
    found = outputs(caplog)
    assert SECRET not in found
    assert NUMBER not in found
    assert SECRET in json.dumps(in_json("cases", "--show-values"))


def test_what_django_puts_into_an_update_is_left_out(people: Cases) -> None:
    people.add("0002_case", AlterField("person", "name", models.CharField(default=SECRET)))

    ((_default, update, *_rest),) = [
        [each["sql"] for each in operation["statements"]]
        for operation in in_json("cases")["migrations"][0]["operations"]
    ]

    assert update == """UPDATE "cases_person" SET "name" = '...' WHERE "name" IS NULL"""


def raises(code: Callable[[Any], object]) -> RunPython:
    def run(apps: Any, _editor: Any) -> None:
        code(apps)

    return RunPython(run)


def executes(text: str) -> RunPython:
    return raises(lambda apps: _execute(text.format(person(apps).name)))


def _execute(text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text)


def _raise(error: Exception) -> None:
    raise error


class Instance:
    """What a model's instance looks like in an error."""

    def __repr__(self) -> str:
        return f"<Person: {SECRET}>"


def _chained(apps: Any) -> None:
    try:
        int(person(apps).name)
    except ValueError as error:
        raise CommandError("fill in the numbers first") from error


def _noted(apps: Any) -> None:
    try:
        int(person(apps).name)
    except ValueError as error:
        error.add_note(f"of {person(apps).name}")
        raise


UNIQUE = models.UniqueConstraint(fields=["name"], name="cases_unique")

FAILING: list[Any] = [
    pytest.param(AddConstraint("person", UNIQUE), "cases_unique", id="unique"),
    pytest.param(
        AddConstraint(
            "person",
            models.CheckConstraint(condition=models.Q(salary__lt=5), name="cases_check"),
        ),
        "cases_check",
        id="check",
    ),
    pytest.param(
        runs("ALTER TABLE cases_person ALTER other SET NOT NULL"), 'column \\"other\\"', id="null"
    ),
    pytest.param(
        runs("ALTER TABLE cases_keyed ALTER number SET NOT NULL"), 'column \\"number\\"', id="key"
    ),
    pytest.param(
        runs("ALTER TABLE cases_person ALTER name TYPE integer USING name::integer"),
        "invalid input syntax for type integer",
        id="cast",
    ),
    pytest.param(
        runs("ALTER TABLE cases_person ALTER salary TYPE smallint"), "out of range", id="range"
    ),
    pytest.param(
        runs("ALTER TABLE cases_person ALTER name TYPE json USING name::json"), "json", id="json"
    ),
    pytest.param(
        runs(
            "DO $$ BEGIN RAISE EXCEPTION 'no country for \"%\"', (SELECT max(name)"
            " FROM cases_person) USING DETAIL = (SELECT max(name) FROM cases_person); END $$"
        ),
        "no country for",
        id="raised",
    ),
    pytest.param(
        runs("UPDATE cases_person SET other = name::integer"), "invalid input syntax", id="update"
    ),
    pytest.param(
        executes("INSERT INTO cases_keyed VALUES ('{}')"), "duplicate key value", id="duplicate"
    ),
    pytest.param(executes("SELECT '{}'::integer"), "invalid input syntax", id="a constant"),
    pytest.param(executes("SELECT '{}'::nothing"), "does not exist", id="a type"),
    pytest.param(executes("SELEKT '{}'"), "syntax error", id="no SQL"),
    pytest.param(executes("SELECT '{}"), "unterminated", id="no end"),
    pytest.param(raises(lambda apps: int(person(apps).name)), "invalid literal", id="int()"),
    pytest.param(raises(lambda apps: {}[person(apps).name]), "KeyError", id="a key"),
    pytest.param(raises(lambda apps: float(person(apps).name)), "could not convert", id="float()"),
    pytest.param(
        raises(lambda apps: apps.get_model("cases", "person").objects.get(id=person(apps).name)),
        "ValueError",
        id="a field",
    ),
    pytest.param(
        raises(lambda apps: apps.get_model("cases", "person").objects.get(id=Instance())),
        "TypeError",
        id="an instance",
    ),
    pytest.param(
        raises(lambda apps: _raise(ValidationError(f"“{person(apps).name}” is no number"))),
        "is no number",
        id="validation",
    ),
    pytest.param(raises(_chained), "fill in the numbers first", id="an error behind another"),
    pytest.param(raises(_noted), "invalid literal", id="an error with a note"),
]


@pytest.mark.parametrize(("operation", "expected"), FAILING)
def test_what_fails_tells_no_value(
    people: Cases, caplog: pytest.LogCaptureFixture, operation: Operation, expected: str
) -> None:
    people.add("0002_case", operation)

    found = outputs(caplog)

    assert SECRET not in found
    assert NUMBER not in found
    assert expected in found
    assert "Traceback" in caplog.text
    assert "dry_run_failed" in caplog.text


TELLS_NOTHING = {"check", "null", "range", "an error behind another"}


@pytest.mark.parametrize(
    "operation",
    [pytest.param(p.values[0], id=p.id) for p in FAILING if p.id not in TELLS_NOTHING],
)
def test_what_was_asked_for(people: Cases, operation: Operation) -> None:
    people.add("0002_case", operation)

    printed = dry_run("cases", "--show-values").out

    assert SECRET in printed or NUMBER in printed


def test_keys_are_told_where_they_tell_nothing(people: Cases) -> None:
    people.add("0002_case", runs("ALTER TABLE cases_keyed ALTER number SET NOT NULL"))

    def keys(*args: str) -> list[str]:
        error = in_json("cases", *args, code=1)["migrations"][0]["error"]
        found: list[str] = error["violations"]["keys"]
        return found

    assert keys() == []
    assert keys("--show-values") == [f"code={SECRET}"]


# Hooks.


class Fails(Hook):
    """A hook that runs into a row."""

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        conn.execute(f"INSERT INTO cases_keyed VALUES ('{SECRET}')")
        return HookResult("BEFORE_DDL", "Fails")


class FailsTolerably(Fails):
    """One whose failure changes nothing."""

    on_failure = "continue"


class FailsInPython(Hook):
    """A hook that runs into a value."""

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        int(SECRET)
        return HookResult("BEFORE_DDL", "FailsInPython")


class Vetoes(Hook):
    """A hook that says why."""

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        raise RuntimeError("there is no backup")


@pytest.mark.parametrize("hook", [Fails, FailsTolerably, FailsInPython])
@pytest.mark.parametrize("phase", [HookPhase.BEFORE_DDL, HookPhase.ON_ERROR, HookPhase.CLEANUP])
def test_hooks_tell_no_value(
    people: Cases, caplog: pytest.LogCaptureFixture, hook: type[Hook], phase: HookPhase
) -> None:
    people.add("0002_case", RunHook(hook, phase=phase), runs("SELECT 1/0"))

    found = outputs(caplog)

    assert SECRET not in found
    assert hook.__name__ in found
    assert "Traceback" in caplog.text


def test_a_veto_is_told_in_its_words(people: Cases) -> None:
    people.add("0002_case", RunHook(Vetoes, phase=HookPhase.BEFORE_DDL))

    assert "Vetoes failed in phase BEFORE_DDL: there is no backup" in " ".join(
        dry_run("cases").out.split()
    )


def test_a_receiver_tells_no_value(people: Cases, caplog: pytest.LogCaptureFixture) -> None:
    people.add("0002_case", runs("SELECT 1"))

    def receive(**_kwargs: Any) -> None:
        _execute(f"INSERT INTO cases_keyed VALUES ('{SECRET}')")

    with connected(post_migrate, receive):
        found = outputs(caplog)

    assert SECRET not in found
    assert "duplicate key value violates unique constraint" in found


def test_a_real_migration_is_logged_as_ever(
    people: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    people.add("0002_case", RunHook(Fails, phase=HookPhase.BEFORE_DDL))
    assert dry_run("cases").code == 1
    caplog.clear()

    with pytest.raises(HookError):
        people.migrate()

    assert SECRET in caplog.text


# What a function of the database raises.

RAISING = """
CREATE FUNCTION dry_raises(code text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE person record; BEGIN
  SELECT * INTO person FROM cases_person WHERE name IS NOT NULL LIMIT 1;
  RAISE EXCEPTION 'the row % is broken', person.name USING ERRCODE = code;
END $$
"""


@pytest.mark.parametrize("code", ["P0001", "23514"])
def test_what_a_function_raises_may_be_a_row(
    people: Cases, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(RAISING)
    people.add("0002_case", runs(f"SELECT dry_raises('{code}')"))
    try:
        found = outputs(caplog)
        asked = dry_run("cases", "--show-values").out
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION dry_raises")

    assert SECRET not in found
    assert f"... ({code}, PL/pgSQL function dry_raises(text) line 4 at RAISE)" in found
    assert f"the row {SECRET} is broken" in asked


def test_what_the_migration_raises_itself_is_told_in_its_words(people: Cases) -> None:
    people.add("0002_case", runs("DO $$ BEGIN RAISE 'fill in the numbers first'; END $$"))

    (result,) = in_json("cases", code=1)["migrations"]

    assert result["error"]["message"] == "fill in the numbers first"


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("ALTER TABLE cases_person DROP COLUMN id", "view people_seen depends on column id"),
        (
            "CREATE TABLE cases_other (person date REFERENCES cases_person)",
            "are of incompatible types",
        ),
    ],
)
def test_a_detail_that_names_objects_alone_is_told(people: Cases, sql: str, named: str) -> None:
    view = runs("CREATE VIEW people_seen AS SELECT id FROM cases_person")
    people.add("0002_case", view, runs(sql))

    (result,) = in_json("cases", code=1)["migrations"]

    assert named in result["error"]["message"]


def test_a_detail_that_the_migration_raises_itself_is_not_told(people: Cases) -> None:
    raises = f"RAISE 'it is said' USING DETAIL = '{SECRET}', ERRCODE = '2BP01'"
    people.add("0002_case", runs(f"DO $$ BEGIN {raises}; END $$"))

    (result,) = in_json("cases", code=1)["migrations"]

    assert result["error"]["message"] == "it is said"


# The words.


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("invalid literal for int(): 'x'"), 'invalid literal for int(): "..."'),
        (ValueError("it's 'x' and 'y'"), 'it\'s "..."'),
        (ValueError("no quotes"), "no quotes"),
        (KeyError("x"), "..."),
        (TypeError("expected a number but got <Person: x>."), 'expected a number but got "...".'),
        (ValidationError(["“x” is none", "“y” either"]), '"..." either'),
        (RuntimeError("'x'"), "'x'"),
        (LookupError("No installed app with label 'x'."), "No installed app with label 'x'."),
        (HookError("H", "CLEANUP", ValueError("'x'")), 'Hook H failed in phase CLEANUP: "..."'),
    ],
)
def test_messages(error: Exception, expected: str) -> None:
    assert redaction.message(error) == expected


def test_messages_where_no_row_is_at_hand() -> None:
    error = ValueError("Related model 'cases.x' cannot be resolved")

    assert redaction.message(error, of_code=False) == str(error)


def test_a_text_that_stands_in_code_is_shown_as_it_stands(people: Cases) -> None:
    people.add(
        "0002_case",
        python(lambda: _execute("UPDATE cases_person SET other = 5 WHERE name = 'absent'")),
        runs("UPDATE cases_person SET other = 6"),
        AddField("person", "new", models.CharField(max_length=5, default="new")),
        AddIndex("person", models.Index(fields=["other"], name="cases_i")),
    )

    operations = in_json("cases")["migrations"][0]["operations"]

    shown = [each["sql"] for operation in operations for each in operation["statements"]]
    assert shown[:2] == [
        "UPDATE cases_person SET other = 5 WHERE name = 'absent'",
        "UPDATE cases_person SET other = 6",
    ]
    assert "DEFAULT 'new'" in shown[2]
