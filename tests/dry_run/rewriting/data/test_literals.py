"""An update of a column in place: by its constants it may run twice, or not."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations import RunPython
from django.db.models import Case, F, Value, When
from django.db.models.functions import Left, Lower, Replace

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.sql.parsing.parser import parse

FACTS = Facts("shop", keys={"t": "id"})
LENGTH = 4
CASE = "UPDATE t SET a = CASE WHEN (t.a = %s) THEN %s WHEN t.a IN (%s, %s) THEN %s ELSE t.a END"


def _of(code: Any, sql: str) -> Rewriting | NotRewritten:
    return rewriting_of(RunPython(code), parse(sql, placeholders=True), FACTS)


def cut(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "T").objects.filter(b="x").update(b="y", a=Left("a", LENGTH))


def replaces(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "T").objects.update(a=Lower(Replace("a", Value("-"), Value(""))))


def maps(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "T").objects.update(
        a=Case(
            When(a="x", then=Value("one")),
            When(a__in=["y", "z"], then=models.Value("100%")),
            default=F("a"),
        )
    )


@pytest.mark.parametrize(
    ("code", "sql"),
    [
        (cut, "UPDATE t SET b = %s, a = LEFT(t.a, %s) WHERE t.b = %s"),
        (replaces, "UPDATE t SET a = LOWER(REPLACE(t.a, %s, %s))"),
        (maps, CASE),
    ],
)
def test_what_may_run_twice(code: Any, sql: str) -> None:
    assert isinstance(_of(code, sql), Rewriting), _of(code, sql)


def doubles(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "T").objects.update(a=Replace("a", Value("-"), Value("--")))


def swaps(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "T").objects.update(
        a=Case(
            When(a="x", then=Value("y")), When(a__in=["y", "z"], then=Value("x")), default=F("a")
        )
    )


def of_another_case(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "T").objects.update(
        a=Case(When(a__startswith="x", then=Value("xx")), default=F("a"))
    )


def by_a_function(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "T").objects.update(a=Left("a", int("4")))


def with_more(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "T").objects.update(a=Left("a", 4))


@pytest.mark.parametrize(
    ("code", "sql"),
    [
        (doubles, "UPDATE t SET a = REPLACE(t.a, %s, %s)"),
        (swaps, CASE),
        (of_another_case, "UPDATE t SET a = CASE WHEN t.a::text LIKE %s THEN %s ELSE t.a END"),
        (by_a_function, "UPDATE t SET a = LEFT(t.a, %s)"),
        (with_more, "UPDATE t SET a = LEFT(t.a, %s), b = %s"),
    ],
)
def test_what_must_not_run_twice(code: Any, sql: str) -> None:
    new = _of(code, sql)
    assert isinstance(new, NotRewritten)
    assert "must not run twice" in new.reason
