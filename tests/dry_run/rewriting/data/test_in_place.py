"""RunPython with a loop that changes a value of each row in place, such as a key of its JSON."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.migrations import RunPython

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.sql.parsing.parser import parse

SQL = "SELECT id, data FROM t; UPDATE t SET data = %s WHERE id = %s"


def _of(code: Any) -> Rewriting | NotRewritten:
    facts = Facts("shop", keys={"t": "id"})
    return rewriting_of(RunPython(code), parse(SQL, placeholders=True), facts)


def key_set(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.data["version"] = 2
        order.save()


def key_of_another(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        if "name" in order.data:
            order.data["name"] = order.data["first"] + order.data.get("last", "")
            order.save(update_fields=["data"])


def inner_key_and_calls(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.data["address"]["country"] = order.country
        order.data.pop("old", None)
        order.data.setdefault("version", 1)
        order.data.update({"seen": True})
        order.save()


def through_a_name(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    changed = []
    for order in Order.objects.all():
        data = order.data
        data["version"] = 2
        order.data = data
        changed.append(order)
    Order.objects.bulk_update(changed, ["data"])


@pytest.mark.parametrize("code", [key_set, key_of_another, inner_key_and_calls, through_a_name])
def test_batches(code: Any) -> None:
    new = _of(code)
    assert isinstance(new, Rewriting), new
    assert [each.what for each in new.files] == ["fill"]


def counts(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.data["version"] = order.data["version"] + 1
        order.save()


def moves(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.data["new"] = order.data.pop("old")
        order.save()


def swaps(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.data["a"], order.data["b"] = order.data["b"], order.data["a"]
        order.save()


def copies_whole(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.data["before"] = dict(order.data)
        order.save()


def unknown_key(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.data[order.name] = order.data["a"]
        order.save()


def of_an_inner_key(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.data["a"]["n"] = order.data["a"]["m"]
        order.data["a"]["m"] = 0
        order.save()


def through_a_name_that_counts(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        data = order.data
        data["n"] = len(data)
        order.save()


def of_the_row_before(apps: Any, schema_editor: Any) -> None:
    data = None
    for order in apps.get_model("shop", "Order").objects.all():
        order.before = data
        data = order.data
        order.save()


def appends(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.data["tags"].append("x")
        order.save()


@pytest.mark.parametrize(
    "code",
    [counts, moves, swaps, copies_whole, unknown_key, of_an_inner_key, through_a_name_that_counts,
     of_the_row_before, appends],
)  # fmt: skip
def test_what_would_end_otherwise_the_second_time(code: Any) -> None:
    assert isinstance(_of(code), NotRewritten)
