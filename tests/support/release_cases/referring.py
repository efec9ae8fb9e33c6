"""Rows that refer to others, and what becomes of them in a deletion."""

from __future__ import annotations

from django.db import models
from django.db.migrations import AlterField, CreateModel, DeleteModel, RenameField, RunSQL

from tests.support.release_cases.library import case, key
from tests.support.release_cases.tables import LOAN, LOANS

_NOTE = CreateModel(
    "Note",
    [("id", key()), ("tag", models.ForeignKey("cases.Tag", models.SET_NULL, null=True))],
)
_STRICT_NOTE = CreateModel(
    "Note", [("id", key()), ("tag", models.ForeignKey("cases.Tag", models.CASCADE))]
)
_NOTES = {"Note": [lambda n, get: {"tag_id": get("Tag")}]}
_EMPTY_NOTES = {"Note": [lambda n, get: {"tag_id": get("Tag")}, lambda n, get: {"tag_id": None}]}
_SHELVES = [
    CreateModel("Shelf", [("id", key()), ("code", models.CharField(max_length=9, unique=True))]),
    CreateModel(
        "Volume",
        [
            ("id", key()),
            ("shelf", models.ForeignKey("cases.Shelf", models.CASCADE, to_field="code")),
        ],
    ),
]

CASES = [
    case(
        "running_code_sets_a_foreign_key_to_null",
        RunSQL("DELETE FROM cases_note WHERE tag_id IS NULL"),
        AlterField("Note", "tag", models.ForeignKey("cases.Tag", models.CASCADE)),
        first=[_NOTE],
        rows=_EMPTY_NOTES,
        new_rows=_NOTES,
    ),
    case(
        "new_code_sets_a_foreign_key_to_null",
        AlterField("Note", "tag", models.ForeignKey("cases.Tag", models.SET_NULL, null=True)),
        first=[_STRICT_NOTE],
        rows=_NOTES,
        new_rows=_EMPTY_NOTES,
    ),
    case(
        "column_that_others_refer_to_is_renamed",
        RenameField("Shelf", "code", "place"),
        first=_SHELVES,
        rows={
            "Shelf": [lambda n, get: {"code": "first" if n < 1000 else f"c{n}"}],
            "Volume": [lambda n, get: {"shelf_id": "first"}],
        },
        new_rows={"Shelf": [lambda n, get: {"place": f"c{n}"}]},
        unfilled=("Volume",),
    ),
    case(
        "drop_leaf_table_without_rows",
        DeleteModel("Loan"),
        first=[LOAN],
        rows=LOANS,
        unfilled=("Loan",),
    ),
]
