"""The order of the steps."""

from __future__ import annotations

from django.db import models
from django.db.migrations import AddField, AddIndex, CreateModel, RunSQL

from django_confiture.fix.ordering import new_tables_complete_first, replacements_first
from django_confiture.fix.proposal import RewriteStep


def drops(origin: int, name: str) -> RewriteStep:
    return RewriteStep(origin, RunSQL(""), dropped=frozenset({name}))


def makes(origin: int, name: str) -> RewriteStep:
    return RewriteStep(origin, RunSQL(""), made=frozenset({name}))


def order(*steps: RewriteStep) -> list[int]:
    return [each.origin for each in replacements_first(steps)]


def test_what_replaces_comes_before_what_goes() -> None:
    assert order(drops(0, "a"), drops(1, "b"), makes(2, "c"), makes(3, "d")) == [2, 3, 0, 1]


def test_a_name_has_to_be_free_first() -> None:
    assert order(drops(0, "a"), makes(1, "b"), makes(2, "a")) == [1, 0, 2]


def test_nothing_goes_past_a_step_that_does_more() -> None:
    assert order(drops(0, "a"), RewriteStep(1, RunSQL("")), makes(2, "b")) == [0, 1, 2]


def test_the_index_of_a_new_model_comes_before_its_rows() -> None:
    index = models.Index(fields=["name"], name="i")
    shops = models.ManyToManyField("cases.shop", through="cases.Kept")
    steps = [
        RewriteStep(0, CreateModel("Shop", [])),
        RewriteStep(1, RunSQL(""), rows_alone=True),
        RewriteStep(2, AddField("order", "shops", shops), state_alone=True),
        RewriteStep(3, AddField("order", "total", models.IntegerField(null=True))),
        RewriteStep(4, RunSQL(""), rows_alone=True),
        RewriteStep(5, AddIndex("shop", index)),
        RewriteStep(6, AddIndex("order", index)),
    ]
    assert [each.origin for each in new_tables_complete_first(steps)] == [0, 5, 1, 2, 3, 4, 6]


def test_the_index_of_a_new_model_stays_behind_sql_that_does_more_than_write_rows() -> None:
    index = models.Index(fields=["name"], name="i")
    steps = [
        RewriteStep(0, CreateModel("Shop", [])),
        RewriteStep(1, RunSQL("CREATE EXTENSION pg_trgm")),
        RewriteStep(2, RunSQL(""), rows_alone=True),
        RewriteStep(3, AddIndex("shop", index)),
    ]
    assert [each.origin for each in new_tables_complete_first(steps)] == [0, 1, 3, 2]
