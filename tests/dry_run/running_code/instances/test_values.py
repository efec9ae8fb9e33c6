"""Values that are made up for a field."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import connections, models
from django.test.utils import isolate_apps

from django_confiture.dry_run.running_code.catalog.numbers import Numbers
from django_confiture.dry_run.running_code.instances.level import Level
from django_confiture.dry_run.running_code.instances.values import Values

_LEVELS: tuple[Level, ...] = ("modest", "least", "most")


@pytest.mark.parametrize(
    "field",
    [
        models.IntegerField(unique=True),
        models.BigIntegerField(unique=True),
        models.SmallIntegerField(unique=True),
        models.PositiveIntegerField(unique=True),
        models.BigAutoField(primary_key=True),
        models.IntegerField(unique=True, validators=[MinValueValidator(5)]),
        models.DecimalField(unique=True, max_digits=5, decimal_places=2),
        models.DecimalField(unique=True, max_digits=2, decimal_places=2),
    ],
)
def test_unique_numbers_are_positive_each_time(field: models.Field[Any, Any]) -> None:
    values = Values(connections["default"].ops, Numbers())
    drawn = [values.unique(field, "modest") for _ in range(100)]
    assert min(drawn) > 0
    assert max(drawn) <= values.of(field, "most")
    assert len(set(drawn)) > 1


def test_a_field_without_positive_numbers_has_others() -> None:
    field = models.IntegerField(
        unique=True, validators=[MinValueValidator(-1000), MaxValueValidator(-10)]
    )
    values = Values(connections["default"].ops, Numbers())
    drawn = {values.unique(field, "modest") for _ in range(100)}
    assert drawn <= {*range(-1000, -9)}
    assert len(drawn) > 1


@pytest.mark.parametrize("default", [list, dict, lambda: ["a"], lambda: {"dark": True}, 1, "x"])
def test_json_is_of_the_kind_of_its_default(default: Any) -> None:
    field: Any = models.JSONField(default=default)
    made = [Values(connections["default"].ops, Numbers()).of(field, each) for each in _LEVELS]
    assert made[0] == field.get_default()
    assert {type(each) for each in made} == {type(field.get_default())}


@isolate_apps("tests.cases")
def test_a_key_fits_the_two_bytes_that_a_release_knows_it_to_have() -> None:
    class Shade(models.Model):  # noqa: DJ008 - shown to no one
        id = models.BigAutoField(primary_key=True)

        class Meta:
            app_label = "cases"

    key: models.Field[Any, Any] = Shade._meta.pk
    values = Values(connections["default"].ops, Numbers(), frozenset({("cases_shade", "id")}))
    assert max(values.unique(key, "modest") for _ in range(100)) < 2**15
