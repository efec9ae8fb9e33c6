"""RunPython with several updates, or with loops over constants: a file for each."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from django.db.migrations import RunPython
from django.db.models import F

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parsing.parser import parse

FACTS = Facts("shop", keys={"t": "id", "u": "id"})
SET = "UPDATE t SET state = %s WHERE state = %s"


def _of(operation: RunPython, sql: str) -> Rewriting | NotRewritten:
    return rewriting_of(operation, parse(sql, placeholders=True), FACTS)


def _source(operation: RunPython, sql: str) -> str:
    new = _of(operation, sql)
    assert isinstance(new, Rewriting), new
    source = snippet(new.files)
    compile(source, "snippet", "exec")
    return source


STATES = {"new": "open", "done": "closed"}
PAIRS = [("new", "open"), ("open", "closed")]
MOVED = [("b", "c"), ("a", "b")]
SWAPPED = {"a": "b", "b": "a"}
SAME_IN_ANOTHER_CASE = {"new": "NEW"}
CODES = ("de", "fr")
SETS = {"de", "fr"}


def by_mapping(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    for old, new in STATES.items():
        Order.objects.filter(state=old).update(state=new)


def test_a_loop_over_a_constant() -> None:
    source = _source(RunPython(by_mapping, RunPython.noop), SET)
    assert "\nSTATES = {'new': 'open', 'done': 'closed'}\n" in source
    assert (
        "    for old, new in STATES.items():\n"
        "        rows = Order.objects.filter(state=old)\n"
        "        values = dict(state=new)\n"
    ) in source
    assert "                break\n" in source


def several(apps: Any, schema_editor: Any) -> None:
    alias = schema_editor.connection.alias
    Order = apps.get_model("shop", "Order")
    Line = apps.get_model("shop", "Line")
    orders = Order.objects.using(alias)
    orders.filter(a=1).update(b=2)
    first = Line.objects.order_by("pk").first()
    orders = orders.exclude(c=None)
    orders.update(line=first, d=F("c"))
    Line.objects.update(price=3)


def back(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    for each in Order.objects.all():
        each.delete()


def test_several_updates_have_a_file_each() -> None:
    sql = "UPDATE t SET b = %s WHERE a = %s; SELECT 1; UPDATE t SET d = c; UPDATE v SET p = 3"
    assert _of(RunPython(several, back), sql) == NotRewritten(
        "v has no primary key of one column to go by"
    )
    sql = "UPDATE t SET b = %s WHERE a = %s; SELECT 1; UPDATE t SET d = c; UPDATE u SET p = 3"
    new = _of(RunPython(several, back), sql)
    assert isinstance(new, Rewriting)
    assert [(each.what, each.atomic) for each in new.files] == [
        ("way_back", True), ("fill", False), ("fill", False), ("fill", False),
    ]  # fmt: skip
    sources = [snippet([each]) for each in new.files]
    assert "code=migrations.RunPython.noop,\n            reverse_code=back," in sources[0]
    assert "for each in Order.objects.all():\n        each.delete()\n" in sources[0]
    assert "rows = Order.objects.using(alias).filter(a=1)\n" in sources[1]
    assert "first" not in sources[1]
    assert "    first = Line.objects.order_by('pk').first()\n" in sources[2]
    assert "rows = Order.objects.using(alias).exclude(c=None)\n" in sources[2]
    assert "Order" not in sources[3]
    assert all("reverse_code=migrations.RunPython.noop," in each for each in sources[1:])


def over(name: str) -> Any:
    """Return a migration's function whose loop is over a constant of that name."""
    return globals()[f"over_{name}"]


def over_pairs(apps: Any, _schema_editor: Any) -> None:
    for old, new in PAIRS:
        apps.get_model("shop", "Order").objects.filter(state=old).update(state=new)


def over_moved(apps: Any, _schema_editor: Any) -> None:
    for old, new in MOVED:
        apps.get_model("shop", "Order").objects.filter(state=old).update(state=new)


def over_swapped(apps: Any, _schema_editor: Any) -> None:
    for old, new in SWAPPED.items():
        apps.get_model("shop", "Order").objects.filter(state=old).update(state=new)


def over_same(apps: Any, _schema_editor: Any) -> None:
    for old, new in SAME_IN_ANOTHER_CASE.items():
        apps.get_model("shop", "Order").objects.filter(state=old).update(state=new)


def over_codes(apps: Any, _schema_editor: Any) -> None:
    for code in CODES:
        apps.get_model("shop", "Order").objects.filter(land=code).update(state="x", n=F("m"))


def over_sets(apps: Any, _schema_editor: Any) -> None:
    for code in SETS:
        apps.get_model("shop", "Order").objects.filter(land=code).update(state="x")


def over_values(apps: Any, _schema_editor: Any) -> None:
    for code in ("a", "b"):
        apps.get_model("shop", "Order").objects.filter(state__startswith=code).update(state="x")


def over_others(apps: Any, _schema_editor: Any) -> None:
    for code in ("a", "b"):
        apps.get_model("shop", "Order").objects.exclude(state=code).update(state="x")


def over_columns(apps: Any, _schema_editor: Any) -> None:
    for code in ("a", "b"):
        apps.get_model("shop", "Order").objects.filter(state=code).update(state=F("land"))


def over_rows(apps: Any, _schema_editor: Any) -> None:
    for land in apps.get_model("shop", "Land").objects.all():
        apps.get_model("shop", "Order").objects.filter(land=land).update(state="x")


def over_keys(apps: Any, _schema_editor: Any) -> None:
    for key, new in [(1, "a"), (2, "b")]:
        apps.get_model("shop", "Order").objects.filter(pk=key).update(state=new)


def over_changed_keys(apps: Any, _schema_editor: Any) -> None:
    for old, new in [(1, 2), (2, 3)]:
        apps.get_model("shop", "Order").objects.filter(pk=old).update(id=new)


@pytest.mark.parametrize("name", ["pairs", "swapped", "codes", "keys"])
def test_a_loop_that_may_begin_again(name: str) -> None:
    assert isinstance(_of(RunPython(over(name)), SET), Rewriting)


@pytest.mark.parametrize(
    "name",
    ["moved", "same", "sets", "values", "others", "columns", "rows", "changed_keys"],
)
def test_a_loop_that_might_end_otherwise(name: str) -> None:
    assert isinstance(_of(RunPython(over(name)), SET), NotRewritten)


def on_one_database(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.alias != "default":
        return
    with transaction.atomic():
        Order = apps.get_model("shop", "Order")
        Order.objects.filter(line=2).update(line=1)


def test_the_database_is_asked_for_and_a_transaction_is_left_out() -> None:
    source = _source(RunPython(on_one_database), "UPDATE t SET line_id = %s")
    assert (
        "    if schema_editor.connection.alias != 'default':\n"
        "        return\n"
        "    Order = apps.get_model('shop', 'Order')\n"
        "    rows = Order.objects.filter(line=2)\n"
    ) in source
    assert "transaction" not in source


def returns_by_rows(apps: Any, _schema_editor: Any) -> None:
    if apps.get_model("shop", "Order").objects.filter(a=1).exists():
        return
    apps.get_model("shop", "Order").objects.update(line=1)


def returns_else(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.alias == "x":
        return
    else:  # noqa: RET505 - as people write it
        apps.get_model("shop", "Order").objects.update(line=1)


def takes_a_name(apps: Any, _schema_editor: Any) -> None:
    last = apps.get_model("shop", "Line").objects.first()
    apps.get_model("shop", "Order").objects.update(line=last)


def reassigns(apps: Any, _schema_editor: Any) -> None:
    line = apps.get_model("shop", "Line").objects.first()
    apps.get_model("shop", "Order").objects.update(line=line)
    line = apps.get_model("shop", "Line").objects.last()
    apps.get_model("shop", "Order").objects.update(line=line)


def never_sends_one(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.update(line=1)
    apps.get_model("shop", "Order").objects.filter(pk__in=[]).update(n=F("n") + 1)


@pytest.mark.parametrize(
    "code", [takes_a_name, reassigns, never_sends_one, returns_by_rows, returns_else]
)
def test_what_only_looks_like_several(code: Any) -> None:
    assert isinstance(_of(RunPython(code), "UPDATE t SET line_id = %s"), NotRewritten)


def goes_through_one_twice(apps: Any, _schema_editor: Any) -> None:
    orders = apps.get_model("shop", "Order").objects.filter(line=None)
    for order in orders:
        order.line = order.a
        order.save()
    for order in orders:
        order.n = order.a
        order.save()


def asks_a_second_time(apps: Any, _schema_editor: Any) -> None:
    orders = apps.get_model("shop", "Order").objects.filter(line=None)
    for order in orders:
        order.line = order.a
        order.save()
    orders = apps.get_model("shop", "Order").objects.exclude(line=None)
    for order in orders.iterator():
        order.n = order.a
        order.save()


def test_a_second_loop_has_the_rows_of_the_first() -> None:
    sql = "SELECT id FROM t; UPDATE t SET line = 1 WHERE id = 2; UPDATE t SET n = 1 WHERE id = 2"
    new = _of(RunPython(goes_through_one_twice), sql)
    assert isinstance(new, NotRewritten)
    assert new.reason.startswith("its loops go through one queryset twice")
    new = _of(RunPython(asks_a_second_time), sql)
    assert isinstance(new, Rewriting)
    assert len(new.files) == 2
