"""Rows that are there and get other unique values: a longer slug, a larger number."""

from __future__ import annotations

from datetime import date, timedelta

from django.db import models
from django.db.migrations import AddConstraint, AlterField, RunSQL

from tests.support.release_cases.things import TITLE, thing
from tests.support.releases import MakeRow

_KIND = ("kind", models.CharField(max_length=9, choices=[("a", "A"), ("b", "B")], default="a"))
_LONG: list[MakeRow] = [lambda n, get: {"code": f"{n:09}" if n < 1000 else f"{n:020}"}]
"""Rows that are there before the plan are short."""
_SHORT: list[MakeRow] = [lambda n, get: {"code": f"{n:09}"}]

CASES = [
    thing(
        "narrower_unique_text",
        [("code", models.CharField(max_length=20, unique=True))],
        AlterField("Thing", "code", models.CharField(max_length=9, unique=True)),
        rows=_LONG,
        new_rows=_SHORT,
    ),
    thing(
        "wider_unique_text",
        [("code", models.CharField(max_length=9, unique=True))],
        AlterField("Thing", "code", models.CharField(max_length=20, unique=True)),
        rows=_SHORT,
        new_rows=_LONG,
    ),
    thing(
        "narrower_text_that_is_unique_with_another",
        [_KIND, ("code", models.CharField(max_length=20))],
        AlterField("Thing", "code", models.CharField(max_length=9)),
        first=[
            AddConstraint("Thing", models.UniqueConstraint(fields=["kind", "code"], name="cases_u"))
        ],
        rows=_LONG,
        new_rows=_SHORT,
    ),
    thing(
        "narrower_unique_number",
        [TITLE, ("code", models.BigIntegerField(unique=True))],
        AlterField("Thing", "code", models.SmallIntegerField(unique=True)),
        rows=[lambda n, get: {"title": "x", "code": n if n < 1000 else 100_000 + n}],
        new_rows=[lambda n, get: {"title": "x", "code": n % 30_000}],
    ),
    thing(
        "unique_text_gets_a_check_of_its_length",
        [("code", models.CharField(max_length=20, unique=True))],
        RunSQL("ALTER TABLE cases_thing ADD CONSTRAINT cases_short CHECK (length(code) < 10)"),
        rows=_LONG,
        new_rows=_SHORT,
    ),
    thing(
        "unique_text_gets_a_check_of_its_beginning",
        [("code", models.SlugField(unique=True))],
        RunSQL("ALTER TABLE cases_thing ADD CONSTRAINT cases_letter CHECK (code ~ '^[a-z]')"),
        rows=[lambda n, get: {"code": f"a{n}" if n < 1000 else f"9{n}"}],
        new_rows=[lambda n, get: {"code": f"a{n}"}],
    ),
    thing(
        "unique_day_gets_a_check_of_its_century",
        [("day", models.DateField(unique=True))],
        RunSQL("ALTER TABLE cases_thing ADD CONSTRAINT cases_now CHECK (day < '2100-01-01')"),
        rows=[lambda n, get: {"day": date(2020 if n < 1000 else 2120, 1, 1) + timedelta(n % 999)}],
        new_rows=[lambda n, get: {"day": date(2020, 1, 1) + timedelta(n % 999)}],
    ),
]
