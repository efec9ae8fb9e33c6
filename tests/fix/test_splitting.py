"""Operations taken apart: what is done one after the other does the same."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations import AlterField, CreateModel, RunSQL, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_confiture.fix.models_compared import different_models
from django_confiture.fix.splitting import split


def state(field: models.Field[Any, Any]) -> ProjectState:
    made = ProjectState()
    key = ("id", models.BigAutoField(primary_key=True))
    CreateModel("Order", [key, ("total", field)]).state_forwards("shop", made)
    return made


BEFORE = state(models.IntegerField(null=True))
CHANGED = AlterField("order", "total", models.BigIntegerField(unique=True, default=1))


def parts(operation: Operation, *, type_last: bool = False) -> list[Operation]:
    return list(split(operation, BEFORE, "shop", type_last=type_last))


@pytest.mark.parametrize(
    ("type_last", "types"),
    [
        (False, ["BigIntegerField", "BigIntegerField", "BigIntegerField"]),
        (True, ["IntegerField", "IntegerField", "BigIntegerField"]),
    ],
)
def test_a_type_comes_first_or_last(type_last: bool, types: list[str]) -> None:
    found = parts(CHANGED, type_last=type_last)
    fields = [each.field for each in found if isinstance(each, AlterField)]
    assert [type(each).__name__ for each in fields] == types
    assert not fields[0].unique
    after = BEFORE.clone()
    for each in found:
        each.state_forwards("shop", after)
    assert list(different_models(after, state(CHANGED.field))) == []


def test_the_models_change_with_the_last_operation_on_the_database() -> None:
    one, two = RunSQL("SELECT 1"), RunSQL("SELECT 2")
    found = parts(SeparateDatabaseAndState([one, two], [CHANGED]))
    apart = [each for each in found if isinstance(each, SeparateDatabaseAndState)]
    assert [each.database_operations for each in apart] == [[one], [two]]
    assert [each.state_operations for each in apart] == [[], [CHANGED]]


@pytest.mark.parametrize(
    "operation",
    [
        SeparateDatabaseAndState(state_operations=[CHANGED]),
        RunSQL("SELECT 1"),
        AlterField("order", "total", models.ForeignKey("shop.Order", models.CASCADE)),
        AlterField("order", "total", models.IntegerField(null=True)),
    ],
)
def test_what_is_not_taken_apart(operation: Operation) -> None:
    assert parts(operation) == [operation]


def test_a_model_that_only_one_side_has_is_different() -> None:
    assert list(different_models(BEFORE, ProjectState())) == ["shop.order"]
    assert list(different_models(ProjectState(), BEFORE)) == ["shop.order"]
    assert list(different_models(BEFORE, state(models.TextField()))) == ["shop.order"]
