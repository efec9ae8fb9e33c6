"""Of which models two releases send the same statements, with the same values."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.validators import MaxValueValidator
from django.db import connection, models
from django.db.migrations import (
    AddField,
    AlterField,
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTable,
    AlterUniqueTogether,
    CreateModel,
    RemoveField,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.running_code.models.release import release_of
from django_confiture.dry_run.running_code.models.same_models import Sent, sent_about
from tests.support.dry_run import migration


class Counted(models.Manager[Any]):
    use_in_migrations = True


def _sent(*operations: Operation) -> Sent:
    """Return what is sent about a book, after some operations more."""
    shelf = CreateModel("Shelf", [("id", models.IntegerField(primary_key=True))])
    book = CreateModel(
        "Book",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("pages", models.IntegerField(default=1)),
            ("shelf", models.ForeignKey("cases.Shelf", models.CASCADE)),
        ],
    )
    first = migration(shelf, book, name="0001_first")
    state = first.mutate_state(ProjectState(), preserve=False)
    for operation in operations:
        operation.state_forwards("cases", state)
    found = release_of(state, connection).models
    return next(sent_about(each) for each in found if each._meta.label == "cases.Book")


@pytest.mark.parametrize(
    "operation",
    [
        AlterField("Book", "pages", models.IntegerField("of paper", default=1, help_text="some")),
        AlterModelOptions("Book", {"verbose_name": "tome"}),
        AddField("Shelf", "name", models.TextField()),
    ],
)
def test_words_make_no_difference(operation: Operation) -> None:
    assert _sent(operation) == _sent()


@pytest.mark.parametrize(
    "operation",
    [
        AddField("Book", "name", models.TextField()),
        RemoveField("Book", "pages"),
        AlterField("Book", "pages", models.BigIntegerField(default=1)),
        AlterField("Book", "pages", models.IntegerField(default=2)),
        AlterField("Book", "pages", models.IntegerField(db_default=1)),
        AlterField("Book", "pages", models.IntegerField(default=1, null=True)),
        AlterField("Book", "pages", models.IntegerField(default=1, unique=True)),
        AlterField("Book", "pages", models.IntegerField(default=1, choices=[(1, "one")])),
        AlterField("Book", "pages", models.IntegerField(default=1, db_column="paper")),
        AlterField(
            "Book", "pages", models.IntegerField(default=1, validators=[MaxValueValidator(9)])
        ),
        AlterField("Book", "shelf", models.ForeignKey("cases.Shelf", models.PROTECT)),
        AlterField("Shelf", "id", models.UUIDField(primary_key=True)),
        AlterField("Shelf", "id", models.IntegerField(primary_key=True, db_column="number")),
        AlterModelTable("Shelf", "cases_rack"),
        AlterModelTable("Book", "cases_tome"),
        AlterModelOptions("Book", {"ordering": ["pages"]}),
        AlterModelOptions("Book", {"base_manager_name": "counted"}),
        AlterUniqueTogether("Book", {("pages", "shelf")}),
    ],
)
def test_what_is_sent_makes_one(operation: Operation) -> None:
    counted = AlterModelManagers("Book", [("counted", Counted())])
    assert _sent(counted, operation) != _sent(counted)
