"""Plans on one model of its own: keys, types of PostgreSQL, and what is not a table."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, IntegerRangeField
from django.db import models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AlterField,
    CreateModel,
    RemoveConstraint,
    RemoveField,
    RenameField,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.models import Q
from django.db.models.functions import Lower

from tests.support.release_cases.library import case, key
from tests.support.releases import Case, MakeRow

TITLE = ("title", models.CharField(max_length=30))
_NAMES = CreateModel(
    "Names",
    [("id", key()), ("label", models.TextField())],
    options={"db_table": "cases_names", "managed": False},
)
_NO_NAMES = "DROP VIEW IF EXISTS cases_names"


def titles(**values: Any) -> list[MakeRow]:
    """Return ways to fill a row with its own title, and one that always has the same."""
    return [
        lambda n, get: {"title": f"t{n}", **values},
        lambda n, get: {"title": "x" * 30, **values},
    ]


def thing(
    name: str, fields: Sequence[Any], *plan: Operation | Sequence[Operation], **options: Any
) -> Case:
    """Return a case on one model; each argument after its fields is a migration."""
    steps = [[each] if isinstance(each, Operation) else list(each) for each in plan]
    rows, new_rows = options.pop("rows", None), options.pop("new_rows", None)
    return Case(
        name,
        [CreateModel("Thing", [("id", key()), *fields]), *options.pop("first", ())],
        steps,
        {"Thing": rows or titles()},
        {"Thing": new_rows} if new_rows else {},
        **options,
    )


_IN_BOTH_CASES: list[MakeRow] = [
    lambda n, get: {"code": "same" if n < 1000 else f"s{n}"},
    lambda n, get: {"code": "SAME" if n % 2 and n > 1000 else f"t{n}"},
]
_KINDS = [("a", "A"), ("b", "B"), ("c", "C")]
_KIND = ("kind", models.CharField(max_length=9, choices=_KINDS[:2], default="a"))
_ENUM = (
    "DROP TYPE IF EXISTS cases_kind CASCADE; CREATE TYPE cases_kind AS ENUM ('a', 'b');"
    "ALTER TABLE cases_thing ALTER kind TYPE cases_kind USING kind::cases_kind"
)

CASES = [
    thing(
        "narrower_array",
        [("words", ArrayField(models.CharField(max_length=10), default=list))],
        RunSQL("UPDATE cases_thing SET words = '{a}'"),
        AlterField("Thing", "words", ArrayField(models.CharField(max_length=4), default=list)),
        rows=[lambda n, get: {"words": ["a" * 10]}, lambda n, get: {}],
        new_rows=[lambda n, get: {"words": ["a" * 4]}],
    ),
    thing(
        "column_beside_an_array_and_bytes",
        [
            TITLE,
            ("words", ArrayField(models.TextField(), default=list)),
            ("raw", models.BinaryField(default=b"abc")),
            ("span", IntegerRangeField(null=True)),
        ],
        AddField("Thing", "note", models.TextField(null=True)),
        rows=titles(words=["a", "b c"], span=(1, 5)),
    ),
    thing(
        "ranges_that_exclude",
        [("span", IntegerRangeField()), ("off", models.BooleanField(default=False))],
        RunSQL("DELETE FROM cases_thing"),
        AddConstraint(
            "Thing",
            ExclusionConstraint(
                name="cases_no_overlap", expressions=[("span", "&&")], condition=Q(off=False)
            ),
        ),
        rows=[lambda n, get: {"span": (1, 5)}],
        new_rows=[lambda n, get: {"span": (n * 10, n * 10 + 5)}],
    ),
    thing(
        "number_to_uuid_key",
        [TITLE],
        AddField("Thing", "uuid", models.UUIDField(default=uuid.uuid4, null=True)),
        RunSQL("UPDATE cases_thing SET uuid = gen_random_uuid()"),
        [
            RemoveField("Thing", "id"),
            RenameField("Thing", "uuid", "id"),
            AlterField(
                "Thing",
                "id",
                models.UUIDField(primary_key=True, default=uuid.uuid4, serialize=False),
            ),
        ],
    ),
    thing(
        "unique_column_becomes_the_key",
        [("code", models.CharField(max_length=9, unique=True))],
        [
            RemoveField("Thing", "id"),
            AlterField("Thing", "code", models.CharField(max_length=9, primary_key=True)),
        ],
        rows=[lambda n, get: {"code": uuid.uuid4().hex[:9]}],
    ),
    Case(
        "wider_automatic_key",
        [
            CreateModel("Thing", [("id", models.AutoField(primary_key=True)), TITLE]),
            CreateModel(
                "Part", [("id", key()), ("of", models.ForeignKey("Thing", models.CASCADE))]
            ),
        ],
        [[AlterField("Thing", "id", key())]],
        {"Thing": titles(), "Part": [lambda n, get: {"of_id": get("Thing")}]},
    ),
    thing(
        "keys_ahead_of_the_sequence",
        [TITLE],
        RunSQL("INSERT INTO cases_thing (id, title) SELECT n, 'x' FROM generate_series(3, 500) n"),
    ),
    thing(
        "sequence_set_back",
        [TITLE],
        RunSQL("SELECT pg_catalog.setval('cases_thing_id_seq', 1, false)"),
    ),
    thing(
        "sequence_that_keeps_up",
        [TITLE],
        RunSQL("INSERT INTO cases_thing (title) SELECT 'x' FROM generate_series(1, 500)"),
    ),
    thing(
        "unique_value_that_is_computed",
        [TITLE, ("token", models.UUIDField(default=uuid.uuid4))],
        AlterField("Thing", "token", models.UUIDField(default=uuid.uuid4, unique=True)),
        rows=titles(),
    ),
    thing(
        "unique_text_that_is_computed",
        [TITLE, ("token", models.CharField(max_length=40, default=uuid.uuid4))],
        RunSQL("CREATE UNIQUE INDEX ON cases_thing (token)"),
        rows=titles(),
    ),
    thing(
        "required_column_beside_a_check_that_takes_no_made_up_value",
        [TITLE],
        AddField("Thing", "count", models.IntegerField(default=1)),
        setup="ALTER TABLE cases_thing ADD CHECK (title ~ '^[A-Z]{3}-[0-9]{4}$')",
        rows=[lambda n, get: {"title": "ABC-1234"}],
        unfilled=("Thing",),
    ),
    case(
        "view_that_took_no_rows_gets_a_column",
        RunSQL(
            "CREATE OR REPLACE VIEW cases_names AS SELECT id, title AS label, price FROM cases_book"
        ),
        first=[_NAMES],
        rows={"Names": [lambda n, get: {"label": "x"}]},
        setup="CREATE VIEW cases_names AS SELECT id, title AS label FROM cases_book",
        cleanup=_NO_NAMES,
    ),
    case(
        "view_that_computes_a_column_gets_another",
        RunSQL(
            "CREATE OR REPLACE VIEW cases_names AS"
            " SELECT id, upper(label) AS label, label AS written FROM cases_tag"
        ),
        first=[_NAMES],
        rows={"Names": [lambda n, get: {"label": "x"}]},
        setup="CREATE VIEW cases_names AS SELECT id, upper(label) AS label FROM cases_tag",
        cleanup=_NO_NAMES,
    ),
    thing(
        "unique_title_of_some",
        [TITLE, ("on", models.BooleanField(default=True))],
        RunSQL("UPDATE cases_thing SET title = id::text"),
        AddConstraint(
            "Thing",
            models.UniqueConstraint(fields=["title"], condition=Q(on=True), name="cases_unique"),
        ),
        rows=[lambda n, get: {"title": "same"}, lambda n, get: {"title": "same"}],
        new_rows=[lambda n, get: {"title": f"n{n}"}],
    ),
    thing(
        "domain_gets_a_check",
        [TITLE, ("number", models.IntegerField(default=0))],
        RunSQL("UPDATE cases_thing SET number = 1"),
        RunSQL("ALTER DOMAIN cases_number ADD CHECK (VALUE > 0)"),
        setup="DROP DOMAIN IF EXISTS cases_number CASCADE; CREATE DOMAIN cases_number AS integer;"
        "ALTER TABLE cases_thing ALTER number TYPE cases_number",
        new_rows=titles(number=2),
        cleanup="DROP DOMAIN IF EXISTS cases_number CASCADE",
    ),
    thing(
        "unique_text_becomes_citext",
        [("code", models.CharField(max_length=20, unique=True))],
        RunSQL("ALTER TABLE cases_thing ALTER code TYPE citext"),
        rows=_IN_BOTH_CASES,
        new_rows=[lambda n, get: {"code": f"n{n}"}],
        setup="CREATE EXTENSION IF NOT EXISTS citext",
        cleanup="DROP EXTENSION IF EXISTS citext CASCADE",
    ),
    thing(
        "unique_text_gets_an_index_without_case",
        [("code", models.CharField(max_length=20, unique=True))],
        AddConstraint("Thing", models.UniqueConstraint(Lower("code"), name="cases_lower")),
        rows=_IN_BOTH_CASES,
        new_rows=[lambda n, get: {"code": f"n{n}"}],
    ),
    thing(
        "unique_text_loses_its_index_without_case",
        [("code", models.CharField(max_length=20, unique=True))],
        RemoveConstraint("Thing", "cases_lower"),
        first=[AddConstraint("Thing", models.UniqueConstraint(Lower("code"), name="cases_lower"))],
        rows=[lambda n, get: {"code": f"n{n}"}],
        new_rows=[lambda n, get: {"code": "N1" if n % 2 else f"m{n}"}],
    ),
    thing(
        "table_whose_rows_a_publication_cannot_tell_apart",
        [TITLE],
        RunSQL("ALTER TABLE cases_thing REPLICA IDENTITY NOTHING"),
        RunSQL("CREATE PUBLICATION cases_publication FOR TABLE cases_thing"),
        cleanup="DROP PUBLICATION IF EXISTS cases_publication",
    ),
    thing(
        "last_enum_value_gets_another_name",
        [TITLE, _KIND],
        RunSQL("ALTER TYPE cases_kind RENAME VALUE 'b' TO 'bb'"),
        setup=_ENUM,
        rows=[lambda n, get: {"title": "x", "kind": "b"}],
        unfilled=["Thing"],
        new_rows=titles(kind="a"),
        cleanup="DROP TYPE IF EXISTS cases_kind CASCADE",
    ),
    thing(
        "enum_gets_a_value",
        [TITLE, _KIND],
        [
            RunSQL("ALTER TYPE cases_kind ADD VALUE 'c'"),
            AlterField("Thing", "kind", models.CharField(max_length=9, choices=_KINDS)),
        ],
        setup=_ENUM,
        new_rows=titles(kind="c"),
        atomic=False,
        cleanup="DROP TYPE IF EXISTS cases_kind CASCADE",
    ),
    thing(
        "enum_value_gets_another_name",
        [TITLE, _KIND],
        RunSQL("ALTER TYPE cases_kind RENAME VALUE 'a' TO 'aa'"),
        setup=_ENUM,
        new_rows=titles(kind="b"),
        cleanup="DROP TYPE IF EXISTS cases_kind CASCADE",
    ),
    case(
        "many_to_many_gets_a_model",
        SeparateDatabaseAndState(
            database_operations=[RunSQL("ALTER TABLE cases_book_tags RENAME TO cases_labeling")],
            state_operations=[
                CreateModel(
                    "Labeling",
                    [
                        ("id", key()),
                        ("book", models.ForeignKey("cases.Book", models.CASCADE)),
                        ("tag", models.ForeignKey("cases.Tag", models.CASCADE)),
                    ],
                ),
                AlterField(
                    "Book", "tags", models.ManyToManyField("cases.Tag", through="cases.Labeling")
                ),
            ],
        ),
        AddField("Labeling", "rank", models.IntegerField(default=0)),
        rows={"Labeling": [lambda n, get: {"book_id": get("Book"), "tag_id": get("Tag")}]},
    ),
    case(
        "foreign_key_to_another_model",
        [
            CreateModel("Person", [("id", key()), ("name", models.TextField())]),
            RunSQL("INSERT INTO cases_person (name) SELECT name FROM cases_author ORDER BY id"),
        ],
        AlterField("Book", "author", models.ForeignKey("cases.Person", models.CASCADE)),
        rows={
            "Person": [lambda n, get: {"name": "p"}],
            # A later author has no person: that those of now do is chance.
            "Book": [
                lambda n, get: {
                    "title": "x",
                    "isbn": f"l{n}",
                    "author_id": get("Author") if n < 1000 else 99,
                }
            ],
        },
        setup="INSERT INTO cases_author (id, name, email, publisher_id) VALUES (99, 'x', '', 1)",
        new_rows={
            "Book": [lambda n, get: {"title": "x", "isbn": f"n{n}", "author_id": get("Person")}]
        },
    ),
    case(
        "materialized_view_loses_its_rows",
        RunSQL("REFRESH MATERIALIZED VIEW cases_names WITH NO DATA"),
        first=[_NAMES],
        rows={"Names": [lambda n, get: {"label": "x"}]},
        setup="CREATE MATERIALIZED VIEW cases_names AS SELECT id, label FROM cases_tag",
        cleanup="DROP MATERIALIZED VIEW IF EXISTS cases_names",
    ),
    case(
        "view_whose_rows_cannot_be_locked",
        RunSQL("COMMENT ON TABLE cases_tag IS 'labels'"),
        first=[_NAMES],
        rows={"Names": [lambda n, get: {"label": "x"}]},
        setup="CREATE VIEW cases_names AS SELECT DISTINCT id, label FROM cases_tag",
        cleanup=_NO_NAMES,
    ),
]
