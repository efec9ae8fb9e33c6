"""States of models are compared without taking apart the fields that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import models
from django.db.migrations.state import ModelState

from django_confiture.dry_run.plan.model_tables import differs


class Counted(models.IntegerField):  # type: ignore[type-arg]
    """A field that counts how often it is taken apart."""

    taken_apart = 0

    def deconstruct(self) -> Any:
        Counted.taken_apart += 1
        return super().deconstruct()


def model(**fields: models.Field[Any, Any]) -> ModelState:
    return ModelState("cases", "Thing", [*fields.items()], {"db_table": "things"})


def test_fields_that_are_shared_are_not_taken_apart() -> None:
    one = model(number=Counted())
    Counted.taken_apart = 0

    assert not differs(one, one.clone())
    assert Counted.taken_apart == 0


def _renamed(state: ModelState) -> None:
    state.fields["other"] = state.fields.pop("number")


def _altered(state: ModelState) -> None:
    state.fields["number"] = models.BigIntegerField()


def _moved(state: ModelState) -> None:
    state.options["db_table"] = "others"


def _managed(state: ModelState) -> None:
    state.managers = [("objects", models.Manager())]


@pytest.mark.parametrize("change", [_renamed, _altered, _moved, _managed])
def test_a_model_that_changed_differs(change: Callable[[ModelState], None]) -> None:
    one = model(number=models.IntegerField())
    other = one.clone()

    change(other)

    assert differs(one, other)
    assert one != other


def test_a_field_that_was_made_again_is_equal() -> None:
    assert not differs(model(number=models.IntegerField()), model(number=models.IntegerField()))
