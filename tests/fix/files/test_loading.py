"""Sources that are in no file yet, as migrations."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations.migration import Migration
from django.db.migrations.state import ModelState, ProjectState

from django_confiture.fix.files.loading import loaded
from django_confiture.fix.outcomes import FixedFile
from django_confiture.fix.rehearsals.models_compared import different_models

SOURCE = """
from enum import Enum
from django.db import migrations, models


class Level(Enum):
    LOW = 1
    HIGH = 2


class Twice(models.Func):
    template = "(2 * %(expressions)s)"


class Encoder:
    pass


class Migration(migrations.Migration):
    operations = [
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(total__lt=Twice("total")), name="doubled")),
        migrations.AddField("order", "level", models.JSONField(
            default=Level.LOW, encoder=Encoder)),
    ]
"""


def state_after(original: Any, source: str) -> ProjectState:
    state = ProjectState()
    state.add_model(
        ModelState("shop", "Order", [("id", models.AutoField(primary_key=True)),
                                     ("total", models.IntegerField())])
    )  # fmt: skip
    with loaded(original, [FixedFile("0002_it", source, False)]) as (migration,):
        for each in migration.operations:
            each.state_forwards("shop", state)
    return state


@pytest.mark.parametrize(
    ("change", "different"),
    [
        (("", ""), []),
        (("Level.LOW", "Level.HIGH"), ["shop.order"]),
        (("Twice", "Thrice"), ["shop.order"]),
        (("Encoder", "Encoded"), ["shop.order"]),
    ],
)
def test_models_with_copies_of_a_file_s_classes_are_compared_by_their_names(
    change: tuple[str, str], different: list[str]
) -> None:
    original = type("Migration", (Migration,), {"__module__": __name__})("0001_it", "shop")
    states = [state_after(original, each) for each in (SOURCE, SOURCE.replace(*change))]
    assert list(different_models(*states)) == different


class Twice(models.Func):
    """What the original of the copies is called, which has to be there by its name."""


class Thrice(models.Func):
    """The same for another name."""
