"""Columns that a release may leave or set NULL: each is tried, whatever the rows hold."""

from __future__ import annotations

from django.db import models
from django.db.migrations import AddConstraint, AlterField, RunSQL
from django.db.models import Q

from tests.support.release_cases.library import case
from tests.support.release_cases.things import thing

_MAIL = ("mail", models.CharField(max_length=40, null=True))
_PHONE = ("phone", models.CharField(max_length=40, null=True))
_SOURCE = ("source", models.CharField(max_length=40, null=True))

CASES = [
    case(
        "not_null_without_a_null",
        AlterField("Book", "pages", models.IntegerField()),
        setup="UPDATE cases_book SET pages = 1",
        new_rows={
            "Book": [
                lambda n, get: {
                    "title": "t",
                    "isbn": f"n{n}",
                    "pages": 1,
                    "author_id": get("Author"),
                }
            ]
        },
    ),
    thing(
        "check_that_forbids_null",
        [_MAIL],
        AddConstraint(
            "Thing", models.CheckConstraint(condition=Q(mail__isnull=False), name="cases_has_mail")
        ),
        rows=[lambda n, get: {"mail": f"m{n}"}, lambda n, get: {}],
        new_rows=[lambda n, get: {"mail": f"m{n}"}],
        setup="UPDATE cases_thing SET mail = 'x'",
    ),
    thing(
        "not_null_beside_a_check",
        [_MAIL, _PHONE, _SOURCE],
        AlterField("Thing", "source", models.CharField(max_length=40, default="")),
        rows=[
            lambda n, get: {"mail": f"m{n}", "phone": "1", "source": "s"},
            lambda n, get: {"mail": f"m{n}", "source": "s"},
            lambda n, get: {"mail": f"m{n}"},
        ],
        new_rows=[lambda n, get: {"mail": f"m{n}", "source": "s"}],
        setup=(
            "UPDATE cases_thing SET source = 'x', phone = '1'; ALTER TABLE cases_thing ADD"
            " CONSTRAINT reachable CHECK (mail IS NOT NULL OR phone IS NOT NULL)"
        ),
    ),
    thing(
        "unique_column_that_is_no_longer_null",
        [("code", models.CharField(max_length=20, null=True, unique=True))],
        RunSQL("DELETE FROM cases_thing WHERE code IS NULL"),
        AlterField("Thing", "code", models.CharField(max_length=20, unique=True)),
        rows=[lambda n, get: {"code": f"c{n}"}, lambda n, get: {}],
        new_rows=[lambda n, get: {"code": f"n{n}"}],
    ),
    thing(
        "null_where_a_default_is",
        [("level", models.IntegerField(null=True, default=1))],
        AlterField("Thing", "level", models.IntegerField(default=1)),
        rows=[lambda n, get: {}],
    ),
]
