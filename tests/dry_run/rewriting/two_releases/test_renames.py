"""What is renamed together with a column or a table, and what a view can't stand for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.db.migrations import RenameField, RenameModel
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import RenamedTable
from tests.support.rewriting import rewritten, there_and_back, why_not

FACTS = Facts("shop", releases=2)
FIELD, COLUMN = RenameField("line", "note", "remark"), "ALTER TABLE line RENAME note TO remark"
MODEL, TABLE = RenameModel("Line", "Item"), "ALTER TABLE line RENAME TO item"
KEY = replace(FACTS, constraints={("line", "line_fk"): "FOREIGN KEY (note) REFERENCES o(id)"})
WITHOUT_KEY = f"{COLUMN}; ALTER TABLE line DROP CONSTRAINT line_fk"
KEY_AGAIN = f"{WITHOUT_KEY}; ALTER TABLE line ADD CONSTRAINT fk FOREIGN KEY (remark) REFERENCES "


def test_a_foreign_key_that_gets_another_name_is_renamed() -> None:
    ((there, back),) = there_and_back(rewritten(FIELD, f"{KEY_AGAIN} o(id)", KEY))
    assert there.split("; ")[:3] == [
        "ALTER TABLE line RENAME COLUMN note TO remark",
        'ALTER TABLE "line" RENAME CONSTRAINT "line_fk" TO "fk"',
        'ALTER TABLE "line" RENAME TO "line_renamed"',
    ]
    assert back.split("; ") == [
        'DROP VIEW "line"',
        'ALTER TABLE "line_renamed" RENAME TO "line"',
        'ALTER TABLE "line" RENAME CONSTRAINT "fk" TO "line_fk"',
        "ALTER TABLE line RENAME COLUMN remark TO note",
    ]


def test_a_sequence_goes_with_its_table() -> None:
    sql = f"{TABLE}; ALTER SEQUENCE line_id_seq RENAME TO item_id_seq"
    ((there, back),) = there_and_back(rewritten(MODEL, sql, FACTS))
    assert there.split("; ")[:3] == [
        TABLE,
        "ALTER SEQUENCE line_id_seq RENAME TO item_id_seq",
        'CREATE VIEW "line" AS SELECT * FROM "item"',
    ]
    assert back.split("; ")[1:] == [
        "ALTER SEQUENCE item_id_seq RENAME TO line_id_seq",
        "ALTER TABLE item RENAME TO line",
    ]


def test_a_second_column_of_a_table_that_is_behind_a_view_already() -> None:
    behind = RenamedTable("", "line", "line", (("price", "cost"),))
    new = rewritten(FIELD, COLUMN, replace(FACTS, renamed=[behind]))
    ((there, _back),) = there_and_back(new)
    assert there.split("; ")[:3] == [
        'DROP VIEW "line"',
        "ALTER TABLE line_renamed RENAME COLUMN note TO remark",
        'CREATE VIEW "line" AS SELECT *, "price" AS "cost", "remark" AS "note" FROM "line_renamed"',
    ]
    assert not there_and_back(new, next_release=True)  # the first one ends the view


@pytest.mark.parametrize(
    ("operation", "sql", "facts", "reason"),
    [
        (FIELD, COLUMN, replace(FACTS, releases=1), "spread it over two releases"),
        (FIELD, WITHOUT_KEY, FACTS, "and drops the constraint line_fk"),  # which is not known
        (FIELD, WITHOUT_KEY, KEY, "and drops the constraint line_fk"),
        (FIELD, f"{KEY_AGAIN} other(id)", KEY, "and adds the constraint fk"),
        (FIELD, f"{COLUMN}; CREATE INDEX i ON line (remark)", FACTS, "and runs CREATE"),
        (FIELD, f"{COLUMN}; ALTER TABLE line ADD x int", FACTS, "and changes more at once"),
        (FIELD, COLUMN, replace(FACTS, row_security=frozenset({"line"})), "row-level security"),
        (MODEL, f"{TABLE}; ALTER INDEX i RENAME TO j", FACTS, "it renames something else too"),
        (
            MODEL,
            TABLE,
            replace(FACTS, renamed=[RenamedTable("", "line", "line", (("remark", "note"),))]),
            "the table line is renamed, or columns of it, before",
        ),
    ],
)
def test_what_a_view_does_not_make_safe(
    operation: Operation, sql: str, facts: Facts, reason: str
) -> None:
    assert reason in why_not(operation, sql, facts)
