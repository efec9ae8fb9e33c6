"""Columns and keys of other types."""

from __future__ import annotations

from django.db import models
from django.db.migrations import AlterField, CreateModel, RunSQL

from tests.support.release_cases.library import key
from tests.support.release_cases.things import TITLE, titles
from tests.support.releases import Case

_VIEW = {"db_table": "cases_names", "managed": False}

CASES = [
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
