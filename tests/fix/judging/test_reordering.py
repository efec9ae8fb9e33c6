"""Renames and new types go behind what can go before them."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterModelTable,
    AlterUniqueTogether,
    RemoveField,
    RenameField,
    RenameModel,
    RunPython,
    RunSQL,
)
from django.db.migrations.operations.base import Operation
from django.db.models import F, Q

from django_confiture.fix.judging.reordering import altered_again, reordered

RENAMED = RenameField("order", "placed", "ordered")
UNRELATED = AddIndex("order", models.Index(fields=["total"], name="i_t"))


def kept(operation: Operation, renamed: Operation = RENAMED) -> bool:
    """Return whether an operation stays behind a rename."""
    return list(reordered([renamed, operation], renaming={0})) == [0, 1]


def test_each_rename_goes_behind_what_has_none_of_its_names() -> None:
    name = RenameField("order", "name", "title")
    operations = [RENAMED, UNRELATED, name, UNRELATED, RunSQL("")]
    assert list(reordered(operations, renaming={0, 2})) == [1, 3, 0, 2, 4]


def test_what_stays_behind_one_rename_stays_behind_those_before_it() -> None:
    on_total = RenameField("order", "total", "sum")
    assert list(reordered([RENAMED, on_total, UNRELATED], renaming={0, 1})) == [0, 1, 2]
    assert list(reordered([on_total, RENAMED, UNRELATED], renaming={0, 1})) == [0, 2, 1]


def test_nothing_goes_past_data() -> None:
    assert list(reordered([RENAMED, RunSQL(""), UNRELATED], renaming={0})) == [0, 1, 2]


@pytest.mark.parametrize(
    "operation",
    [
        AddIndex("order", models.Index(fields=["-Ordered"], name="i")),
        AddIndex("order", models.Index(F("ordered").desc(), name="i")),
        AddIndex("order", models.Index(fields=["total"], include=["placed"], name="i")),
        AddConstraint("order", models.CheckConstraint(condition=Q(ordered__year__gt=1), name="c")),
        AddConstraint(
            "order", models.CheckConstraint(condition=Q(total=F("ordered_id")), name="c")
        ),
        AlterUniqueTogether("order", {("total", "ordered")}),
        AddField("line", "at", models.ForeignKey("order", models.CASCADE, to_field="ordered")),
        RunPython(RunPython.noop),
        RunSQL("SELECT 1"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_has_a_name_of_the_rename_or_may_have_it_stays_behind(operation: Operation) -> None:
    assert kept(operation)


def test_a_new_column_name_is_a_rename_of_its_field() -> None:
    column = AlterField("order", "placed", models.DateField(db_column="ordered_at"))
    assert kept(AddIndex("order", models.Index(fields=["placed"], name="i")), column)
    assert not kept(UNRELATED, column)


def test_names_with_spaces_are_compared_by_their_words() -> None:
    spaced = RenameField("order", "slug", "path 'name'")
    assert kept(AddIndex("order", models.Index(fields=["path 'name'"], name="i")), spaced)
    assert not kept(UNRELATED, spaced)


def test_functions_have_no_names_of_fields() -> None:
    assert not kept(AddField("order", "n", models.IntegerField(default=lambda: 1)))


def test_words_of_python_are_not_names() -> None:
    assert not kept(UNRELATED, RenameField("order", "name", "fields"))


def test_a_reference_to_a_renamed_model_stays_behind() -> None:
    renamed = RenameModel("Line", "Item")
    assert kept(AddField("order", "n", models.ForeignKey("cases.item", models.CASCADE)), renamed)
    assert kept(AddField("item", "n", models.ForeignKey("cases.Item", models.CASCADE)), renamed)
    assert not kept(UNRELATED, renamed)


def test_what_changes_a_renamed_model_gets_its_old_name() -> None:
    again = RenameModel("Item", "Thing")
    added = AddField("Thing", "n", models.IntegerField(null=True))
    renamed = RenameModel("Line", "Item")
    first, *others = reordered([renamed, again, added], renaming={0, 1}).items()
    assert [index for index, _each in others] == [0, 1]
    index, moved = first
    assert isinstance(moved, AddField)
    assert (index, moved.model_name, moved.name) == (2, "Line", "n")


def test_unique_together_of_a_renamed_model_gets_its_old_name() -> None:
    moved = reordered(
        [RenameModel("Line", "Item"), AlterUniqueTogether("item", {("a", "b")})], renaming={0}
    )[1]
    assert isinstance(moved, AlterUniqueTogether)
    assert moved.name == "Line"


def test_a_table_has_no_name_in_the_models() -> None:
    assert not kept(UNRELATED, AlterModelTable("order", "orders"))


def test_indexes_of_a_column_go_before_its_new_type() -> None:
    retyped = AlterField("order", "total", models.BigIntegerField())
    again = AlterField("order", "total", models.BigIntegerField(null=True))
    operations = [retyped, UNRELATED, again, UNRELATED]
    assert list(reordered(operations, renaming=(), retyping={0})) == [1, 0, 2, 3]


def altered(name: str = "total") -> AlterField:
    """Return a change of a field's type."""
    return AlterField("order", name, models.BigIntegerField())


def test_the_last_change_of_a_field_is_all_of_them() -> None:
    assert altered_again([altered(), UNRELATED, altered(), altered("n"), altered()], {0}) == {
        0: 4,
        2: 4,
    }
    of_two = [altered(), altered("n"), altered(), altered("n")]
    assert altered_again(of_two, {0, 1}) == {0: 2, 1: 3}


@pytest.mark.parametrize(
    ("operations", "retyping"),
    [
        ([altered()], {0}),
        ([altered(), altered("n")], {0}),
        ([altered(), altered()], {1}),
        ([altered(), altered()], set()),
        ([altered(), RunPython(RunPython.noop), altered()], {0}),
        ([altered(), RenameField("order", "total", "sum"), altered()], {0}),
        ([altered(), RemoveField("order", "total"), altered()], {0}),
    ],
    ids=[
        "one",
        "of two fields",
        "only the last has a new type",
        "none has a new type",
        "code between",
        "renamed between",
        "removed between",
    ],
)
def test_what_is_no_change_of_the_same_field_stays(
    operations: list[Operation], retyping: set[int]
) -> None:
    assert altered_again(operations, retyping) == {}
