"""Columns that come, go, and change their names and types."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import (
    AddField,
    AlterField,
    RemoveField,
    RenameField,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.state import StateApps
from django.db.models import F
from django.db.models.functions import Now

from tests.support.release_cases.library import case, with_book


def fill_pages(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("cases", "Book").objects.filter(pages=None).update(pages=0)


def shorten(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    for book in apps.get_model("cases", "Book").objects.all():
        book.title = book.title[:20]
        book.save()


CASES = [
    case("nullable_column", AddField("Book", "note", models.TextField(null=True))),
    case("column_with_default", AddField("Book", "note", models.TextField(default=""))),
    case("column_with_db_default", AddField("Book", "note", models.TextField(db_default=""))),
    case("column_with_db_now", AddField("Book", "made", models.DateTimeField(db_default=Now()))),
    case(
        "column_with_one_off_default",
        AddField("Book", "note", models.TextField(default="x"), preserve_default=False),
        new_rows=with_book(note="x"),
    ),
    case(
        "column_with_callable_default",
        AddField("Book", "token", models.UUIDField(default=uuid.uuid4)),
    ),
    case(
        "column_healed_later",
        AddField("Book", "note", models.TextField(default="")),
        RunSQL("ALTER TABLE cases_book ALTER note SET DEFAULT ''"),
    ),
    case(
        "column_comes_and_goes",
        AddField("Book", "note", models.TextField(default="")),
        RemoveField("Book", "note"),
    ),
    case(
        "generated_column",
        AddField(
            "Book",
            "double",
            models.GeneratedField(
                expression=F("price") * 2,
                output_field=models.DecimalField(max_digits=12, decimal_places=2),
                db_persist=True,
            ),
        ),
    ),
    case(
        "overflowing_generated_column",
        AddField(
            "Book",
            "double",
            models.GeneratedField(
                expression=F("price") * 2,
                output_field=models.DecimalField(max_digits=12, decimal_places=2),
                db_persist=True,
            ),
        ),
    ),
    case(
        "generated_column_that_only_extreme_numbers_overflow_goes",
        RemoveField("Book", "more"),
        first=[
            AddField("Book", "stock", models.IntegerField(default=0)),
            AddField(
                "Book",
                "more",
                models.GeneratedField(
                    expression=F("stock") * 2,
                    output_field=models.IntegerField(),
                    db_persist=True,
                ),
            ),
        ],
    ),
    case("drop_column", RemoveField("Book", "summary")),
    case("drop_leaf_column", RemoveField("Tag", "label"), new_rows={"Tag": [lambda n, get: {}]}),
    case("drop_nullable_column", RemoveField("Book", "pages"), new_rows=with_book()),
    case(
        "drop_unique_column",
        RemoveField("Book", "isbn"),
        new_rows={"Book": [lambda n, get: {"title": "x", "author_id": get("Author")}]},
    ),
    case(
        "drop_foreign_key",
        RemoveField("Book", "author"),
        new_rows={"Book": [lambda n, get: {"title": "x", "isbn": f"n{n}"}]},
    ),
    case(
        "drop_upper_foreign_key",
        RemoveField("Author", "publisher"),
        new_rows={"Author": [lambda n, get: {"name": "x"}]},
    ),
    case("drop_many_to_many", RemoveField("Book", "tags")),
    case(
        "rename_column",
        RenameField("Book", "title", "name"),
        new_rows={
            "Book": [lambda n, get: {"name": "x", "isbn": f"n{n}", "author_id": get("Author")}]
        },
    ),
    case(
        "rename_foreign_key",
        RenameField("Book", "author", "writer"),
        new_rows={
            "Book": [lambda n, get: {"title": "x", "isbn": f"n{n}", "writer_id": get("Author")}]
        },
    ),
    case(
        "rename_keeping_the_column",
        [
            RenameField("Book", "title", "name"),
            AlterField("Book", "name", models.CharField(max_length=100, db_column="title")),
        ],
        new_rows={
            "Book": [lambda n, get: {"name": "x", "isbn": f"n{n}", "author_id": get("Author")}]
        },
    ),
    case(
        "rename_in_state_alone",
        SeparateDatabaseAndState(
            state_operations=[
                RenameField("Book", "summary", "abstract"),
                AlterField("Book", "abstract", models.TextField(db_column="summary", default="")),
            ]
        ),
        new_rows=with_book(),
    ),
    case(
        "change_the_column_name",
        AlterField(
            "Book", "summary", models.TextField(db_column="abstract", blank=True, default="")
        ),
    ),
    case(
        "widen_text",
        AlterField("Book", "title", models.CharField(max_length=200)),
        new_rows=with_book(title="t" * 200),
    ),
    case(
        "narrow_text",
        RunPython(shorten),
        AlterField("Book", "title", models.CharField(max_length=20)),
        new_rows=with_book(title="t" * 20),
    ),
    case(
        "unlimit_text",
        AlterField("Book", "title", models.TextField()),
        new_rows=with_book(title="t" * 900),
    ),
    case(
        "widen_integer",
        AlterField("Book", "pages", models.BigIntegerField(null=True)),
        new_rows=with_book(pages=2**60),
    ),
    case(
        "narrow_integer",
        RunSQL("UPDATE cases_book SET pages = 5"),
        AlterField("Book", "pages", models.SmallIntegerField(null=True)),
        new_rows=with_book(pages=32767),
    ),
    case(
        "positive_integer",
        RunSQL("UPDATE cases_book SET pages = 5"),
        AlterField("Book", "pages", models.PositiveIntegerField(null=True)),
        new_rows=with_book(pages=0),
    ),
    case(
        "fewer_digits",
        RunSQL("UPDATE cases_book SET price = 1"),
        AlterField("Book", "price", models.DecimalField(max_digits=5, decimal_places=2, default=0)),
        new_rows=with_book(price="999.99"),
    ),
    case(
        "more_digits",
        AlterField(
            "Book", "price", models.DecimalField(max_digits=12, decimal_places=2, default=0)
        ),
        new_rows=with_book(price="9999999999.99"),
    ),
    case(
        "integer_to_text",
        AlterField("Book", "pages", models.CharField(max_length=20, null=True)),
        new_rows=with_book(pages="many"),
    ),
    case(
        "not_null",
        RunPython(fill_pages),
        AlterField("Book", "pages", models.IntegerField()),
        new_rows=with_book(pages=1),
    ),
    case(
        "not_null_with_default",
        AlterField("Book", "pages", models.IntegerField(default=0)),
        new_rows=with_book(),
    ),
    case(
        "nullable",
        AlterField("Book", "summary", models.TextField(null=True)),
        new_rows=with_book(summary=None),
    ),
    case(
        "change_default",
        AlterField("Book", "price", models.DecimalField(max_digits=8, decimal_places=2, default=5)),
        new_rows=with_book(),
    ),
    case(
        "help_text",
        AlterField("Book", "summary", models.TextField(blank=True, default="", help_text="short")),
    ),
    case(
        "drop_after_an_earlier_release",
        RunSQL("ALTER TABLE cases_book DROP COLUMN legacy"),
        setup="ALTER TABLE cases_book ADD legacy text",
    ),
    case(
        "remove_from_the_state_alone",
        SeparateDatabaseAndState(state_operations=[RemoveField("Book", "title")]),
        new_rows={"Book": [lambda n, get: {"isbn": f"n{n}", "author_id": get("Author")}]},
    ),
    case(
        "remove_nullable_from_the_state_alone",
        SeparateDatabaseAndState(state_operations=[RemoveField("Book", "pages")]),
        new_rows=with_book(),
    ),
    case(
        "remove_in_two_steps",
        [
            SeparateDatabaseAndState(
                state_operations=[RemoveField("Book", "title")],
                database_operations=[RunSQL("ALTER TABLE cases_book ALTER title DROP NOT NULL")],
            )
        ],
        new_rows={"Book": [lambda n, get: {"isbn": f"n{n}", "author_id": get("Author")}]},
    ),
    case(
        "add_to_the_database_alone",
        RunSQL("ALTER TABLE cases_book ADD extra text NOT NULL DEFAULT ''"),
    ),
    case(
        "add_required_to_the_database_alone",
        RunSQL(
            "ALTER TABLE cases_book ADD extra text NOT NULL DEFAULT '';"
            "ALTER TABLE cases_book ALTER extra DROP DEFAULT"
        ),
    ),
    case(
        "add_to_the_state_alone",
        SeparateDatabaseAndState(
            state_operations=[AddField("Book", "ghost", models.TextField(default=""))]
        ),
    ),
    case(
        "drop_in_sql",
        RunSQL(
            "ALTER TABLE cases_book DROP COLUMN summary",
            state_operations=[RemoveField("Book", "summary")],
        ),
    ),
    case(
        "rename_in_sql",
        RunSQL(
            "ALTER TABLE cases_tag RENAME label TO name",
            state_operations=[RenameField("Tag", "label", "name")],
        ),
        new_rows={"Tag": [lambda n, get: {"name": "n"}]},
    ),
    case(
        "rename_there_and_back",
        RenameField("Tag", "label", "name"),
        RenameField("Tag", "name", "label"),
    ),
    case("lose_the_key's_default", RunSQL("ALTER TABLE cases_tag ALTER id DROP IDENTITY")),
    case(
        "lose_a_db_default",
        RunSQL("ALTER TABLE cases_tag ALTER rank DROP DEFAULT"),
        first=[AddField("Tag", "rank", models.IntegerField(db_default=5))],
    ),
    case(
        "drop_a_db_default",
        AlterField("Tag", "rank", models.IntegerField(default=5)),
        first=[AddField("Tag", "rank", models.IntegerField(db_default=5))],
    ),
    case("always_generated_key", RunSQL("ALTER TABLE cases_tag ALTER id SET GENERATED ALWAYS")),
    case(
        "becomes_generated",
        RunSQL(
            "ALTER TABLE cases_tag DROP COLUMN rank;"
            "ALTER TABLE cases_tag ADD rank integer GENERATED ALWAYS AS (1) STORED"
        ),
        first=[AddField("Tag", "rank", models.IntegerField(default=5))],
    ),
    case(
        "boolean_from_text",
        RunSQL("UPDATE cases_author SET email = 'true'"),
        RunSQL(
            "ALTER TABLE cases_author ALTER email TYPE boolean USING email::boolean",
            state_operations=[AlterField("Author", "email", models.BooleanField(default=True))],
        ),
        new_rows={
            "Author": [
                lambda n, get: {"name": "n", "email": False, "publisher_id": get("Publisher")}
            ]
        },
    ),
    case(
        "not_atomic",
        [
            AddField("Book", "note", models.TextField(db_default="")),
            RemoveField("Book", "summary"),
        ],
        atomic=False,
    ),
]
