"""The tables that a model's ordering reads."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations import AlterModelOptions
from django.db.migrations.state import ProjectState
from django.db.models import F, Model
from django.db.models.functions import Lower

from django_confiture.dry_run.running_code.models.ordering import can_be_ordered, tables_of_order
from tests.support.dry_run import migration
from tests.support.release_cases.library import library
from tests.support.releases import after


def author(**options: Any) -> type[Model]:
    operations = [*library(), AlterModelOptions("Author", options)]
    state = after(ProjectState(), migration(*operations, name="0001_first"))
    found: type[models.Model] = state.apps.get_model("cases", "Author")
    return found


@pytest.mark.parametrize(
    ("ordering", "tables"),
    [
        ([], ()),
        (["-name", "?"], ()),
        (["publisher__name"], ("cases_publisher",)),
        ([F("publisher__name").desc(nulls_last=True)], ("cases_publisher",)),
        ([Lower("name")], ()),
        ([Lower("publisher__name")], ("cases_publisher",)),
    ],
)
def test_tables(ordering: list[Any], tables: tuple[str, ...]) -> None:
    model = author(ordering=ordering)
    assert tables_of_order(model) == tables
    assert can_be_ordered(model)


def test_a_field_that_is_not_there() -> None:
    model = author(ordering=["gone", "publisher__name"])
    assert tables_of_order(model) == ()
    assert not can_be_ordered(model)
