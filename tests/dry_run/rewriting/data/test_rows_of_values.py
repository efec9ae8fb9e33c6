"""Loops over values of rows, which update each row by its key."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.migrations import RunPython

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parsing.parser import parse

FACTS = Facts("shop", keys={"t": "id"})
SQL = "SELECT t.id, t.a FROM t; UPDATE t SET x = %s WHERE t.id = %s"


def _of(code: Any) -> Rewriting | NotRewritten:
    return rewriting_of(RunPython(code), parse(SQL, placeholders=True), FACTS)


def of_tuples(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for name, pk in T.objects.values_list("a", "pk").iterator():
        T.objects.filter(pk=pk).update(x=name.lower())


def of_dictionaries(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for each in T.objects.filter(x=None).values("id", "a"):
        T.objects.filter(id=each["id"]).update(x=each["a"])


def of_keys(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for pk in T.objects.values_list("pk", flat=True):
        T.objects.filter(pk=pk).update(x=pk * 2)


def of_objects(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for row in T.objects.only("a"):
        T.objects.filter(pk=row.pk).update(x=row.a)


@pytest.mark.parametrize(
    ("code", "last"),
    [
        (of_tuples, "last = batch[-1][1]\n"),
        (of_dictionaries, "last = batch[-1]['id']\n"),
        (of_keys, "last = batch[-1]\n"),
        (of_objects, "last = batch[-1].pk\n"),
    ],
)
def test_each_row_is_updated_in_a_batch(code: Any, last: str) -> None:
    new = _of(code)
    assert isinstance(new, Rewriting), new
    source = snippet(new.files)
    assert last in source
    compile(source, "snippet", "exec")


def of_ids(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for number, a in T.objects.values_list("id", "a"):
        T.objects.filter(pk=number).update(x=a)


def of_objects_by_their_ids(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for row in T.objects.all():
        T.objects.filter(id=row.id).update(x=row.a)


def of_objects_by_pk_and_id(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for row in T.objects.all():
        T.objects.filter(pk=row.id).update(x=row.a)


@pytest.mark.parametrize(
    "code", [of_dictionaries, of_ids, of_objects_by_their_ids, of_objects_by_pk_and_id]
)
def test_id_has_to_be_the_primary_key(code: Any) -> None:
    statements = parse(SQL, placeholders=True)
    new = rewriting_of(RunPython(code), statements, Facts("shop", keys={"t": "code"}))
    assert isinstance(new, NotRewritten)
    assert new.reason.startswith("its loop goes by id, which is not the primary key")
    assert isinstance(_of(code), Rewriting)


def without_keys(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for a, b in T.objects.values_list("a", "b"):
        T.objects.filter(pk=a).update(x=b)


def by_another_column(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for pk, a in T.objects.values_list("pk", "a"):
        T.objects.filter(a=a).update(x=pk)


def by_more_than_its_key(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for pk, a in T.objects.values_list("pk", "a"):
        T.objects.filter(pk__lte=pk).update(x=a)


def adds(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for pk, x in T.objects.values_list("pk", "x"):
        T.objects.filter(pk=pk).update(x=x + 1)


def of_dictionaries_that_it_changes(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for each in T.objects.values("id", "x"):
        each["x"] = each["x"] + 1
        T.objects.filter(id=each["id"]).update(x=each["x"])


def whole(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for each in T.objects.values("id", "x"):
        T.objects.filter(id=each["id"]).update(x=str(each))


def by_names_of_its_own(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for pk, x in T.objects.values_list("pk", "a"):
        pk = pk + 1
        T.objects.filter(pk=pk).update(x=x)


@pytest.mark.parametrize(
    "code",
    [
        without_keys, by_another_column, by_more_than_its_key, adds,
        of_dictionaries_that_it_changes, whole, by_names_of_its_own,
    ],
)  # fmt: skip
def test_what_must_stay_one_transaction(code: Any) -> None:
    assert isinstance(_of(code), NotRewritten), _of(code)
