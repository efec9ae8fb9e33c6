"""Columns and keys of other types, and what names or compares types."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.migrations import AddConstraint, AlterField, CreateModel, RunSQL

from tests.support.release_cases.library import key
from tests.support.release_cases.things import TITLE, thing, titles
from tests.support.releases import Case

_TOKEN = models.CharField(max_length=36, unique=True)
_CITIES = [
    CreateModel("City", [("id", models.IntegerField(primary_key=True))]),
    CreateModel(
        "Street", [("id", key()), ("city", models.ForeignKey("cases.City", models.CASCADE))]
    ),
]
_AT_THE_END = models.UniqueConstraint(
    fields=["token"], name="cases_at_the_end", deferrable=models.Deferrable.DEFERRED
)

_VIEW = {"db_table": "cases_names", "managed": False}

CASES = [
    thing(
        "text_becomes_a_uuid_that_bulk_update_calls_text",
        [TITLE, ("token", _TOKEN)],
        AlterField("Thing", "token", models.UUIDField(default=uuid.uuid4, unique=True)),
        rows=[lambda n, get: {"title": "x", "token": str(uuid.UUID(int=n))}],
    ),
    Case(
        "a_key_of_another_type_finds_no_row",
        _CITIES,
        [[AlterField("City", "id", models.CharField(max_length=20, primary_key=True))]],
        {
            "City": [lambda n, get: {"id": n}],
            "Street": [lambda n, get: {"city_id": get("City")}],
        },
        {"City": [lambda n, get: {"id": f"c{n}"}]},
    ),
    thing(
        "deferrable_unique_that_no_insert_passes_over",
        [TITLE, ("token", models.UUIDField(default=uuid.uuid4))],
        AddConstraint("Thing", _AT_THE_END),
    ),
    thing(
        "trigger_of_a_table_of_which_a_deferrable_unique_was_there",
        [TITLE, ("token", models.UUIDField(default=uuid.uuid4))],
        RunSQL(
            "CREATE FUNCTION cases_looks_on() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RETURN NEW; END'; CREATE TRIGGER cases_looks_on BEFORE INSERT ON cases_thing"
            " FOR EACH ROW EXECUTE FUNCTION cases_looks_on()"
        ),
        first=[AddConstraint("Thing", _AT_THE_END)],
        cleanup="DROP FUNCTION IF EXISTS cases_looks_on CASCADE",
    ),
    Case(
        "deferrable_unique_of_a_child_that_django_never_inserts_in_bulk",
        [
            CreateModel("Thing", [("id", key()), TITLE]),
            CreateModel(
                "Child",
                [("token", models.UUIDField(default=uuid.uuid4))],
                bases=("cases.Thing",),
            ),
        ],
        [[AddConstraint("Child", _AT_THE_END)]],
        {"Thing": titles(), "Child": titles()},
    ),
    Case(
        "view_that_no_code_locks",
        [
            CreateModel("Thing", [("id", key()), TITLE]),
            RunSQL("CREATE VIEW cases_names AS SELECT id, title FROM cases_thing"),
            CreateModel("Names", [("id", key()), TITLE], options=_VIEW),
        ],
        [
            [
                RunSQL(
                    "DROP VIEW cases_names; CREATE VIEW cases_names AS"
                    " SELECT id, max(title) AS title FROM cases_thing GROUP BY id"
                )
            ]
        ],
        {"Thing": titles(), "Names": titles()},
        cleanup="DROP VIEW IF EXISTS cases_names",
    ),
    Case(
        "small_keys_become_large",
        [CreateModel("Color", [("id", models.SmallAutoField(primary_key=True)), TITLE])],
        [[AlterField("Color", "id", models.BigAutoField(primary_key=True))]],
        {"Color": [lambda n, get: {"title": f"t{n}"}]},
    ),
]
