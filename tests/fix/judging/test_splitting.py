"""Operations taken apart: what is done one after the other does the same."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations import AlterField, CreateModel, RunSQL, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_confiture.fix.judging.splitting import split
from django_confiture.fix.rehearsals.models_compared import different_models


def state(field: models.Field[Any, Any]) -> ProjectState:
    made = ProjectState()
    key = ("id", models.BigAutoField(primary_key=True))
    CreateModel("Order", [key, ("total", field)]).state_forwards("shop", made)
    return made


BEFORE = state(models.IntegerField(null=True))
CHANGED = AlterField(
    "order",
    "total",
    models.BigIntegerField(unique=True, default=1, db_comment="each"),
    preserve_default=False,
)


def parts(operation: Operation, *, type_last: bool = False) -> list[Operation]:
    return list(split(operation, BEFORE, "shop", type_last=type_last))


@pytest.mark.parametrize(
    ("type_last", "forms"),
    [
        (
            False,
            [
                ("BigIntegerField", True, "each", False),
                ("BigIntegerField", False, "each", False),
                ("BigIntegerField", False, "each", True),
            ],
        ),
        (
            True,
            [
                ("IntegerField", False, "each", False),
                ("BigIntegerField", False, "each", True),
            ],
        ),
    ],
)
def test_a_type_comes_first_or_last(type_last: bool, forms: list[tuple[object, ...]]) -> None:
    found = parts(CHANGED, type_last=type_last)
    made = [each for each in found if isinstance(each, AlterField)]
    assert [
        (type(each.field).__name__, each.field.null, each.field.db_comment, each.field.unique)
        for each in made
    ] == forms
    assert not any(each.preserve_default for each in made)
    after = BEFORE.clone()
    for each in found:
        each.state_forwards("shop", after)
    wanted = models.BigIntegerField(unique=True, db_comment="each")
    assert list(different_models(after, state(wanted))) == []


def test_an_index_that_a_type_has_by_itself_comes_after_the_type() -> None:
    slug = AlterField("order", "total", models.SlugField())
    found = list(split(slug, state(models.CharField(max_length=9)), "shop", type_last=False))
    fields: list[Any] = [each.field for each in found if isinstance(each, AlterField)]
    assert [type(each).__name__ for each in fields] == ["SlugField", "SlugField"]
    assert [each.db_index for each in fields] == [False, True]


class Scaled(models.IntegerField):  # type: ignore[type-arg]
    """A field with an argument of its own, by position."""

    def __init__(self, scale: int, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale

    def deconstruct(self) -> Any:
        """Return the field's form."""
        name, path, args, options = super().deconstruct()
        return name, path, [*args, self.scale], options


def test_a_field_keeps_its_own_arguments() -> None:
    found = parts(AlterField("order", "total", Scaled(100, unique=True)))
    fields: list[Any] = [each.field for each in found if isinstance(each, AlterField)]
    assert [each.scale for each in fields] == [100, 100, 100]


def test_the_models_change_with_the_last_operation_on_the_database() -> None:
    sql = [RunSQL(f"SELECT {number}") for number in (1, 2, 3)]
    found = parts(SeparateDatabaseAndState(sql, [CHANGED]))
    apart = [each for each in found if isinstance(each, SeparateDatabaseAndState)]
    assert [each.database_operations for each in apart] == [[each] for each in sql]
    assert [each.state_operations for each in apart] == [[], [], [CHANGED]]


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
