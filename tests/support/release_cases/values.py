"""Values that only some rows have, or that a new schema takes from some rows alone."""

from __future__ import annotations

from django.db import models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AlterField,
    AlterModelTable,
    CreateModel,
    RemoveConstraint,
    RunSQL,
)
from django.db.models import F, Q
from django.db.models.functions import Concat

from tests.support.release_cases.library import case, key
from tests.support.release_cases.tables import SPECIAL, SPECIALS
from tests.support.release_cases.things import TITLE, thing, titles
from tests.support.releases import Case

_FROM_TO = [("low", models.IntegerField(default=0)), ("high", models.IntegerField(default=1))]
_IN_ORDER = models.CheckConstraint(condition=Q(low__lte=F("high")), name="cases_in_order")

_OF_LISTS = RunSQL(
    "ALTER TABLE cases_thing ADD CONSTRAINT cases_lists CHECK (jsonb_typeof(tags) = 'array')"
)

CASES = [
    thing(
        "json_lists_by_their_default",
        [TITLE, ("tags", models.JSONField(default=list))],
        _OF_LISTS,
        rows=[lambda n, get: {"title": f"t{n}"}, lambda n, get: {"title": "x", "tags": [n]}],
    ),
    thing(
        "json_lists_by_the_rows",
        [TITLE, ("tags", models.JSONField())],
        _OF_LISTS,
        rows=[lambda n, get: {"title": f"t{n}", "tags": []}],
    ),
    thing(
        "view_that_refuses_the_values_of_hidden_rows",
        [("state", models.CharField(max_length=9))],
        [
            AlterModelTable("Thing", "cases_all"),
            RunSQL(
                "CREATE VIEW cases_thing AS SELECT * FROM cases_all WHERE state <> 'gone'"
                " WITH CHECK OPTION"
            ),
        ],
        rows=[lambda n, get: {"state": "here"}, lambda n, get: {"state": "gone"}],
        cleanup="DROP VIEW IF EXISTS cases_thing",
    ),
    Case(
        "text_becomes_a_foreign_key",
        [
            CreateModel("Coupon", [("code", models.CharField(max_length=8, primary_key=True))]),
            CreateModel("Thing", [("id", key()), ("coupon", models.CharField(max_length=8))]),
        ],
        [
            [
                RunSQL(
                    "INSERT INTO cases_coupon SELECT coupon FROM cases_thing ON CONFLICT DO NOTHING"
                ),
                AlterField(
                    "Thing",
                    "coupon",
                    models.ForeignKey("cases.Coupon", models.CASCADE, db_column="coupon"),
                ),
            ]
        ],
        {
            "Coupon": [lambda n, get: {"code": f"n{n}"}],
            "Thing": [lambda n, get: {"coupon": f"c{n}"}],
        },
        {"Thing": [lambda n, get: {"coupon_id": get("Coupon")}]},
        setup="INSERT INTO cases_coupon SELECT coupon FROM cases_thing",
    ),
    case(
        "foreign_key_by_another_column",
        [
            RunSQL(
                "ALTER TABLE cases_author ADD UNIQUE (email);"
                "UPDATE cases_author SET email = 'a' || id"
            ),
            AlterField("Author", "email", models.CharField(max_length=60, unique=True)),
            RunSQL(
                "ALTER TABLE cases_book ADD writer varchar(60) REFERENCES cases_author (email);"
                "UPDATE cases_book b SET writer = a.email FROM cases_author a"
                " WHERE a.id = b.author_id;"
                "ALTER TABLE cases_book DROP author_id;"
                "ALTER TABLE cases_book ALTER writer SET NOT NULL;"
                "ALTER TABLE cases_book RENAME writer TO author_id",
                state_operations=[
                    AlterField(
                        "Book",
                        "author",
                        models.ForeignKey("cases.Author", models.CASCADE, to_field="email"),
                    )
                ],
            ),
        ],
        new_rows={
            "Author": [lambda n, get: {"name": "a", "email": f"m{n}", "publisher_id": 1}],
            "Book": [lambda n, get: {"title": "x", "isbn": f"n{n}", "author_id": "a1"}],
        },
    ),
    thing(
        "check_of_two_that_may_be_equal",
        _FROM_TO,
        AddConstraint("Thing", _IN_ORDER),
        rows=[lambda n, get: {}, lambda n, get: {"low": 2, "high": 1}],
        new_rows=[lambda n, get: {}],
        setup="DELETE FROM cases_thing WHERE low > high",
    ),
    thing(
        "check_of_two_is_dropped",
        _FROM_TO,
        RemoveConstraint("Thing", "cases_in_order"),
        first=[AddConstraint("Thing", _IN_ORDER)],
        rows=[lambda n, get: {}],
        new_rows=[lambda n, get: {"low": 2, "high": 1}],
    ),
    thing(
        "check_of_two_empty_ones",
        [("low", models.IntegerField(null=True)), ("high", models.IntegerField(null=True))],
        AddConstraint(
            "Thing",
            models.CheckConstraint(
                condition=Q(low=None, high=None) | Q(low__isnull=False, high__isnull=False),
                name="cases_both",
            ),
        ),
        rows=[lambda n, get: {}, lambda n, get: {"low": 1}],
        new_rows=[lambda n, get: {}],
        setup="DELETE FROM cases_thing WHERE low = 1",
    ),
    case(
        "parent_whose_key_no_sequence_makes",
        RunSQL("ALTER TABLE cases_book ALTER id DROP IDENTITY"),
        first=[SPECIAL],
        rows=SPECIALS,
    ),
    Case(
        "wider_keys_of_rows_that_others_need",
        [
            CreateModel("Label", [("id", models.AutoField(primary_key=True))]),
            CreateModel(
                "Thing",
                [
                    ("id", models.AutoField(primary_key=True)),
                    TITLE,
                    ("labels", models.ManyToManyField("cases.Label")),
                ],
            ),
            CreateModel(
                "Part", [("id", key()), ("thing", models.OneToOneField("Thing", models.CASCADE))]
            ),
            CreateModel(
                "Big",
                [
                    (
                        "thing_ptr",
                        models.OneToOneField(
                            "cases.Thing", models.CASCADE, parent_link=True, primary_key=True
                        ),
                    )
                ],
                bases=("cases.Thing",),
            ),
        ],
        [[AlterField("Thing", "id", key()), AlterField("Label", "id", key())]],
        {
            "Label": [lambda n, get: {}],
            "Thing": [lambda n, get: {"title": f"t{n}"}],
            "Big": [lambda n, get: {"title": f"b{n}"}],
            "Thing_labels": [lambda n, get: {"thing_id": get("Thing"), "label_id": get("Label")}],
        },
    ),
    case(
        "name_that_others_refer_to",
        RunSQL(
            "ALTER TABLE cases_author ADD house varchar(40) REFERENCES cases_publisher (name);"
            "UPDATE cases_author a SET house = p.name FROM cases_publisher p"
            " WHERE p.id = a.publisher_id"
        ),
        setup="ALTER TABLE cases_publisher ADD UNIQUE (name)",
    ),
    thing(
        "generated_column_too_short_for_long_titles",
        [TITLE],
        AddField(
            "Thing",
            "twice",
            models.GeneratedField(
                expression=Concat("title", "title"),
                output_field=models.CharField(max_length=40),
                db_persist=True,
            ),
        ),
        rows=titles(),
        new_rows=[lambda n, get: {"title": f"t{n}"}],
        setup="DELETE FROM cases_thing WHERE length(title) > 20",
    ),
]
