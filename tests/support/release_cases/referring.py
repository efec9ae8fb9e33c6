"""Rows that refer to others, and what becomes of them in a deletion."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.migrations import (
    AlterField,
    CreateModel,
    DeleteModel,
    RenameField,
    RunSQL,
    SeparateDatabaseAndState,
)

from tests.support.release_cases.library import case, key
from tests.support.release_cases.tables import LOAN, LOANS, SIGNED, SIGNEDS, SPECIAL, SPECIALS
from tests.support.releases import Case

_NOTE = CreateModel(
    "Note",
    [("id", key()), ("tag", models.ForeignKey("cases.Tag", models.SET_NULL, null=True))],
)
_STRICT_NOTE = CreateModel(
    "Note", [("id", key()), ("tag", models.ForeignKey("cases.Tag", models.CASCADE))]
)


def _by(model: str) -> Any:
    return models.ForeignKey(f"cases.{model}", models.SET_NULL, null=True)


_NOTES = {"Note": [lambda n, get: {"tag_id": get("Tag")}]}
_EMPTY_NOTES = {"Note": [lambda n, get: {"tag_id": get("Tag")}, lambda n, get: {"tag_id": None}]}
_NOTES_WITHOUT_FIRST = {
    "Note": [lambda n, get: {"tag_id": None}, lambda n, get: {"tag_id": get("Tag")}]
}
_ONE_NOTE = CreateModel(
    "Note",
    [("id", key()), ("tag", models.OneToOneField("cases.Tag", models.SET_NULL, null=True))],
)
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

_CHAIN_ROWS = {
    "Part": [lambda n, get: {}, lambda n, get: {}],
    "Detail": [lambda n, get: {"part_id": get("Part") if n < 1000 else 2}],
    "Remark": [lambda n, get: {"detail_id": get("Detail")}],
}


def _chain(pk: Any) -> list[CreateModel]:
    """Return models of which the second has the key of the first, and the third refers to it."""
    part: Any = models.OneToOneField("cases.Part", models.CASCADE, primary_key=True)
    detail = models.ForeignKey("cases.Detail", models.CASCADE)
    return [
        CreateModel("Part", [("id", pk)]),
        CreateModel("Detail", [("part", part)]),
        CreateModel("Remark", [("id", key()), ("detail", detail)]),
    ]


_BOXES = [
    CreateModel("Box", [("id", key()), ("number", models.BigIntegerField())]),
    CreateModel("Item", [("id", key()), ("box", models.ForeignKey("cases.Box", models.CASCADE))]),
]
_BY_NUMBER = RunSQL(
    "ALTER TABLE cases_item RENAME box_id TO was; ALTER TABLE cases_item ADD box_id bigint;"
    "UPDATE cases_item SET box_id = b.number FROM cases_box b WHERE b.id = was;"
    "ALTER TABLE cases_item DROP was, ALTER box_id SET NOT NULL,"
    " ADD FOREIGN KEY (box_id) REFERENCES cases_box (number) DEFERRABLE INITIALLY DEFERRED",
    state_operations=[
        AlterField("Box", "number", models.BigIntegerField(unique=True)),
        AlterField(
            "Item", "box", models.ForeignKey("cases.Box", models.CASCADE, to_field="number")
        ),
    ],
)

CASES = [
    case(
        "foreign_key_by_a_number_that_is_the_same_by_chance",
        _BY_NUMBER,
        first=_BOXES,
        rows={
            "Box": [lambda n, get: {"number": n + 500}],
            "Item": [lambda n, get: {"box_id": get("Box") if n < 1000 else 99}],
        },
        new_rows={"Item": [lambda n, get: {"box_id": 98}]},
        setup="ALTER TABLE cases_box ADD UNIQUE (number); UPDATE cases_box SET number = id;"
        "INSERT INTO cases_box (id, number) VALUES (99, 98);"
        "UPDATE cases_item SET box_id = (SELECT min(id) FROM cases_box)",
    ),
    case(
        "foreign_key_by_another_number",
        _BY_NUMBER,
        first=_BOXES,
        rows={
            "Box": [lambda n, get: {"number": n + 500}],
            "Item": [lambda n, get: {"box_id": get("Box")}],
        },
        new_rows={"Item": [lambda n, get: {"box_id": 501}]},
        setup="ALTER TABLE cases_box ADD UNIQUE (number); UPDATE cases_box SET number = 501",
    ),
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
        "column_that_others_refer_to_becomes_a_plain_one",
        AlterField("Volume", "shelf", models.CharField(max_length=9, db_column="shelf_id")),
        AlterField("Shelf", "code", models.CharField(max_length=9)),
        first=_SHELVES,
        rows={
            "Shelf": [lambda n, get: {"code": "first" if n < 1000 else f"c{n}"}],
            "Volume": [lambda n, get: {"shelf_id": "first"}],
        },
        new_rows={
            "Shelf": [lambda n, get: {"code": f"c{n}"}, lambda n, get: {"code": "same"}],
            "Volume": [lambda n, get: {"shelf": "first"}, lambda n, get: {"shelf": f"v{n}"}],
        },
    ),
    case(
        "drop_leaf_table_without_rows",
        DeleteModel("Loan"),
        first=[LOAN],
        rows=LOANS,
        unfilled=("Loan",),
    ),
    case(
        "foreign_key_that_only_one_row_may_have",
        AlterField("Note", "tag", models.OneToOneField("cases.Tag", models.SET_NULL, null=True)),
        first=[_NOTE],
        rows=_NOTES_WITHOUT_FIRST,
        new_rows={"Note": [lambda n, get: {"tag_id": None}]},
    ),
    case(
        "foreign_key_that_several_rows_may_have",
        AlterField("Note", "tag", models.ForeignKey("cases.Tag", models.SET_NULL, null=True)),
        first=[_ONE_NOTE],
        rows={"Note": [lambda n, get: {"tag_id": None}]},
        new_rows=_NOTES_WITHOUT_FIRST,
        setup="INSERT INTO cases_note (tag_id) SELECT min(id) FROM cases_tag",
    ),
    case(
        "key_of_children_at_two_levels_becomes_small",
        AlterField("Book", "id", models.SmallAutoField(primary_key=True)),
        first=[AlterField("Book", "id", models.AutoField(primary_key=True)), SPECIAL, SIGNED],
        rows={**SPECIALS, **SIGNEDS},
    ),
    case(
        "key_of_keys_becomes_small",
        AlterField("Part", "id", models.SmallAutoField(primary_key=True)),
        first=_chain(models.AutoField(primary_key=True)),
        rows=_CHAIN_ROWS,
    ),
    Case(
        "a_foreign_key_that_leads_to_another_table",
        [
            CreateModel("Owner", [("id", key())]),
            CreateModel("Profile", [("id", key())]),
            CreateModel("Note", [("id", key()), ("by", _by("Owner"))]),
        ],
        [[AlterField("Note", "by", _by("Profile"))]],
        {
            "Owner": [lambda n, get: {}] * 3,
            "Profile": [lambda n, get: {}],
            "Note": [lambda n, get: {"by_id": None}, lambda n, get: {"by_id": 3}],
        },
        {"Note": [lambda n, get: {"by_id": None}, lambda n, get: {"by_id": 500}]},
        setup="INSERT INTO cases_profile (id) VALUES (500); UPDATE cases_note SET by_id = 1",
    ),
    # What refers to a parent's row keeps its child from being deleted, too.
    case(
        "new_rows_refer_to_the_parent",
        LOAN,
        RunSQL("INSERT INTO cases_loan (book_id) SELECT id FROM cases_book"),
        first=[SPECIAL],
        rows={**SPECIALS, **LOANS},
    ),
    case(
        "new_rows_refer_to_the_grandparent",
        LOAN,
        RunSQL("INSERT INTO cases_loan (book_id) SELECT id FROM cases_book"),
        first=[SPECIAL, SIGNED],
        rows={**SPECIALS, **SIGNEDS, **LOANS},
    ),
    case(
        "the_state_forgets_what_refers_to_the_parent",
        SeparateDatabaseAndState(state_operations=[DeleteModel("Loan")]),
        first=[LOAN, SPECIAL],
        rows={**SPECIALS, **LOANS},
    ),
    case(
        "what_refers_to_the_parent_is_kept",
        RunSQL("ALTER TABLE cases_book ADD extra integer"),
        first=[LOAN, SPECIAL],
        rows={**SPECIALS, **LOANS},
    ),
]

OF_TEXT = case(
    "key_of_keys_becomes_text",
    AlterField("Part", "id", models.CharField(max_length=40, primary_key=True)),
    first=_chain(models.BigIntegerField(primary_key=True)),
    rows={**_CHAIN_ROWS, "Part": [lambda n, get: {"id": n}] * 2},
    new_rows={"Part": [lambda n, get: {"id": f"p{n}"}]},
)
