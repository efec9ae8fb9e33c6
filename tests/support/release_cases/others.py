"""Fields of a project's own, orders, sequences, and deletions that come to other tables."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.postgres.fields import DateTimeRangeField
from django.db import connection, models
from django.db.migrations import (
    AddField,
    AlterField,
    AlterModelOptions,
    AlterModelTable,
    CreateModel,
    RemoveField,
    RunSQL,
    SeparateDatabaseAndState,
)

from tests.support.release_cases.library import case, key
from tests.support.release_cases.tables import SPECIAL, SPECIALS
from tests.support.release_cases.things import TITLE, thing, titles
from tests.support.releases import Get


class WordsField(models.Field):  # type: ignore[type-arg] # Django has no generic classes
    """A list of words, separated by commas in the database."""

    def db_type(self, connection: Any) -> str:
        return "text"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> list[str]:
        return value.split(",") if value else []

    def get_prep_value(self, value: Any) -> str:
        return ",".join(value or ())


class CentsField(models.Field):  # type: ignore[type-arg] # Django has no generic classes
    """An amount with two decimal places, a whole number in the database."""

    def db_type(self, connection: Any) -> str:
        return "integer"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> str | None:
        return None if value is None else f"{value // 100}.{value % 100:02}"

    def get_prep_value(self, value: Any) -> int | None:
        return None if value is None else int(str(value).replace(".", ""))


def _row_of(n: int, get: Get, *, data: str) -> dict[str, Any]:
    return {"data": data}


def tenant() -> int:
    """Return a default that only the new schema can tell."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(main) FROM cases_tag")
        return int(cursor.fetchone()[0])


_PARTS = CreateModel("Part", [("id", key()), ("of", models.ForeignKey("Thing", models.CASCADE))])

CASES = [
    thing(
        "type_that_a_field_cannot_read",
        [("words", WordsField())],
        RunSQL("ALTER TABLE cases_thing ALTER words TYPE text[] USING string_to_array(words, ',')"),
        first=[_PARTS],
        rows=[lambda n, get: {"words": ["a", "b"]}],
    ),
    thing(
        "field_of_a_type_of_its_own_without_rows",
        [("price", CentsField())],
        AddField("Thing", "note", models.TextField(default="")),
        rows=[lambda n, get: {"price": "2.00"}],
        empty=True,
    ),
    *(
        thing(
            f"text_over_{kind}",
            [("data", models.TextField()), ("note", models.TextField(null=True))],
            RemoveField("Thing", "note"),
            rows=[partial(_row_of, data=data)],
            setup=f"CREATE EXTENSION IF NOT EXISTS hstore;"
            f"ALTER TABLE cases_thing ALTER data TYPE {kind} USING data::{kind}",
            cleanup="DROP EXTENSION IF EXISTS hstore CASCADE",
        )
        for kind, data in (("jsonb", "{}"), ("json", "{}"), ("hstore", "a=>1"))
    ),
    thing(
        "range_in_a_table_that_is_renamed",
        [("span", DateTimeRangeField())],
        AlterModelTable("Thing", "cases_spans"),
        rows=[lambda n, get: {"span": ("2001-01-01 00:00+00", "2001-01-02 00:00+00")}],
    ),
    thing(
        "unique_for_the_last_choice",
        [TITLE, ("kind", models.CharField(max_length=9, choices=[("a", "A"), ("b", "B")]))],
        RunSQL("UPDATE cases_thing SET kind = 'a'"),
        RunSQL("CREATE UNIQUE INDEX cases_one_b ON cases_thing (title) WHERE kind = 'b'"),
        rows=[lambda n, get: {"title": "x" * 30, "kind": "b"}],
        new_rows=[lambda n, get: {"title": f"t{n}", "kind": "b"}],
    ),
    thing(
        "trigger_that_swallows_updates",
        [TITLE],
        RunSQL(
            "CREATE FUNCTION dry_swallows() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RETURN NULL; END $$;"
            "CREATE TRIGGER dry_swallows BEFORE UPDATE ON cases_thing"
            " FOR EACH ROW EXECUTE FUNCTION dry_swallows()"
        ),
        rows=titles(),
        cleanup="DROP FUNCTION IF EXISTS dry_swallows() CASCADE",
    ),
    thing(
        "trigger_that_swallows_inserts",
        [TITLE],
        RunSQL(
            "CREATE FUNCTION dry_swallows() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RETURN NULL; END $$;"
            "CREATE TRIGGER dry_swallows BEFORE INSERT ON cases_thing"
            " FOR EACH ROW EXECUTE FUNCTION dry_swallows()"
        ),
        rows=titles(),
        cleanup="DROP FUNCTION IF EXISTS dry_swallows() CASCADE",
    ),
    thing(
        "rule_that_swallows_updates",
        [TITLE],
        RunSQL("CREATE RULE dry_rule AS ON UPDATE TO cases_thing DO INSTEAD NOTHING"),
        rows=titles(),
    ),
    thing(
        "only_one_row_may_be_empty",
        [TITLE, ("rank", models.IntegerField(null=True))],
        RunSQL(
            "CREATE UNIQUE INDEX cases_empty ON cases_thing ((rank IS NULL)) WHERE rank IS NULL"
        ),
        rows=[lambda n, get: {"title": "x", "rank": n}, lambda n, get: {"title": "y"}],
        new_rows=[lambda n, get: {"title": "x", "rank": n}],
    ),
    thing(
        "only_one_row_may_be_the_main_one",
        [TITLE, ("main", models.BooleanField(default=False))],
        RunSQL("CREATE UNIQUE INDEX cases_main ON cases_thing (main) WHERE main"),
        rows=[
            lambda n, get: {"title": "x", "main": False},
            lambda n, get: {"title": "y", "main": True},
        ],
        new_rows=[lambda n, get: {"title": "x", "main": False}],
    ),
    thing(
        "check_that_no_row_of_now_passes",
        [TITLE, ("cost", models.IntegerField(null=True))],
        RunSQL("ALTER TABLE cases_thing ADD CHECK (title = '') NOT VALID"),
        setup="ALTER TABLE cases_thing ADD CHECK (cost >= 0)",
    ),
    thing(
        "sequence_at_its_end",
        [TITLE],
        RunSQL(
            "ALTER SEQUENCE cases_thing_id_seq MAXVALUE 50;"
            "SELECT pg_catalog.setval('cases_thing_id_seq', 50)"
        ),
    ),
    thing(
        "trigger_that_checks_new_rows_at_the_end",
        [TITLE],
        RunSQL(
            "CREATE FUNCTION dry_checks() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no part' USING ERRCODE = 'check_violation'; END $$;"
            "CREATE CONSTRAINT TRIGGER dry_checks AFTER INSERT ON cases_thing"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dry_checks()"
        ),
        rows=titles(),
        cleanup="DROP FUNCTION IF EXISTS dry_checks() CASCADE",
    ),
    thing(
        "empty_values_become_equal",
        [TITLE, ("rank", models.IntegerField(null=True, unique=True))],
        RunSQL("DELETE FROM cases_thing"),
        RunSQL("CREATE UNIQUE INDEX cases_one_rank ON cases_thing (coalesce(rank, 0))"),
        rows=[lambda n, get: {"title": "x", "rank": n}, lambda n, get: {"title": "y"}],
        new_rows=[lambda n, get: {"title": "x", "rank": n}],
    ),
    case(
        "child_whose_parent_loses_a_default",
        RunSQL("ALTER TABLE cases_book ALTER kind DROP DEFAULT"),
        first=[AddField("Book", "kind", models.CharField(max_length=5, db_default="a")), SPECIAL],
        rows=SPECIALS,
    ),
    case(
        "ordered_by_a_column_of_another_table",
        AlterModelOptions("Author", {"ordering": ["name"]}),
        RemoveField("Publisher", "name"),
        first=[AlterModelOptions("Author", {"ordering": ["publisher__name"]})],
        new_rows={"Publisher": [lambda n, get: {}]},
    ),
    case(
        "default_that_asks_the_database",
        RunSQL("ALTER TABLE cases_tag ADD main boolean"),
        AlterField("Author", "tenant", models.IntegerField(default=tenant)),
        first=[AddField("Author", "tenant", models.IntegerField(default=5))],
    ),
    case(
        "second_key_to_the_rows_that_go_along",
        RunSQL(
            "ALTER TABLE cases_book ADD writer bigint REFERENCES cases_author;"
            "UPDATE cases_book SET writer = author_id"
        ),
    ),
    case(
        "many_to_many_of_a_parent_gets_a_model",
        SeparateDatabaseAndState(
            database_operations=[RunSQL("ALTER TABLE cases_book_tags RENAME TO cases_labeling")],
            state_operations=[RemoveField("Book", "tags")],
        ),
        first=[SPECIAL],
        rows=SPECIALS,
    ),
]
