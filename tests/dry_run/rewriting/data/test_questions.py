"""RunPython that asks for rows first: whether there are any, or how many it will change."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db.migrations import RunPython

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parsing.parser import parse

logger = logging.getLogger(__name__)
OWN = 'SELECT $1 AS "a" FROM t LIMIT 1'
OTHER = 'SELECT 1 AS "a" FROM other LIMIT 1'
COUNT = 'SELECT COUNT(*) AS "__count" FROM t'
LOOP = "SELECT id, a FROM t; UPDATE t SET x = 1 WHERE id = 2"
ENDS = "it first asks for rows of a table that it writes"


def _of(code: Any, *statements: str) -> Rewriting | NotRewritten:
    facts = Facts("shop", keys={"t": "id"})
    return rewriting_of(RunPython(code), parse("; ".join(statements), placeholders=False), facts)


def returns_without_rows(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    if not Order.objects.exists():
        print("Nothing to do")  # noqa: T201
        return
    for order in Order.objects.filter(a=1).iterator():
        order.x = order.a
        order.save()


def goes_on_with_rows(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    orders = Order.objects.filter(a=1).order_by("a")
    if orders.count() > 0:
        for order in orders:
            order.x = order.a
            order.save()
    else:
        logger.info("none of %d", Order.objects.count())


def returns_for_none_of_them(apps: Any, schema_editor: Any) -> None:
    orders = apps.get_model("shop", "Order").objects.filter(a=1)
    if not orders:
        return
    for order in orders.select_related("b"):
        order.x = order.a
        order.save()


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        (returns_without_rows, [OWN]),
        (goes_on_with_rows, [COUNT]),
        (returns_for_none_of_them, []),
    ],
)
def test_a_needless_question_is_left_out(code: Any, asked: list[str]) -> None:
    new = _of(code, *asked, LOOP)
    assert isinstance(new, Rewriting), new
    source = snippet(new.files)
    for gone in ("exists", "count", "if not orders", "print", "logger"):
        assert gone not in source
    assert "order.x = order.a" in source


def prints_counts(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    orders = Order.objects.all()
    total = orders.count()
    print("Filling", Order.objects.count())  # noqa: T201
    for order in orders:
        order.x = order.a
        order.save()
    logger.info("%d orders", total)


def test_counts_for_the_output_are_left_out() -> None:
    new = _of(prints_counts, COUNT, LOOP)
    assert isinstance(new, Rewriting), new
    source = snippet(new.files)
    assert ".count()" not in source
    assert "total" not in source


def ends_by_others(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    if apps.get_model("shop", "Other").objects.filter(old=True).exists():
        return
    Order.objects.update(x=1)
    Order.objects.filter(a=1).update(x=2)


def goes_on_by_others(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    Other = apps.get_model("shop", "Other")
    if Other.objects.count() > 100:
        for order in Order.objects.all():
            order.x = order.a
            order.save()


def test_what_the_rows_of_other_tables_end_asks_in_each_part() -> None:
    new = _of(ends_by_others, OTHER, "UPDATE t SET x = 1; UPDATE t SET x = 2 WHERE a = 1")
    assert isinstance(new, Rewriting), new
    source = snippet(new.files)
    guard = "if apps.get_model('shop', 'Other').objects.filter(old=True).exists():"
    assert source.count(f"{guard}\n        return\n") == len(new.files) == 2
    new = _of(goes_on_by_others, COUNT.replace("FROM t", "FROM other"), LOOP)
    assert isinstance(new, Rewriting), new
    assert "    if not Other.objects.count() > 100:\n        return\n" in snippet(new.files)


def skips_what_is_done(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    if Order.objects.filter(x=1).exists():
        return
    for order in Order.objects.all():
        order.x = 1
        order.save()


def asks_for_less(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    if not Order.objects.filter(x=None).exists():
        return
    for order in Order.objects.exclude(a=1):
        order.x = 1
        order.save()


def asks_for_one_of_two(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    if Order.objects.filter(x=None).count() >= 1:
        Order.objects.filter(x=None).update(x=1)
        Order.objects.update(a=1)


def asks_by_going_through(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    if not Order.objects.filter(x=None):
        return
    Order.objects.filter(x=2).delete()


def asks_of_batches(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    if not Order.objects.filter(a=None).exists():
        return
    while Order.objects.filter(x=None).exists():
        for order in Order.objects.filter(x=None)[:1000]:
            order.x = 1
            order.save()


@pytest.mark.parametrize(
    ("code", "statements"),
    [
        (skips_what_is_done, [OWN, LOOP]),
        (asks_for_less, [OWN, LOOP]),
        (asks_for_one_of_two, [COUNT, "UPDATE t SET x = 1; UPDATE t SET a = 1"]),
        (asks_by_going_through, ["SELECT id FROM t; DELETE FROM t WHERE x = 2"]),
        (asks_of_batches, [OWN, LOOP]),
        (ends_by_others, ["UPDATE t SET x = 1; UPDATE t SET x = 2 WHERE a = 1"]),
    ],
)
def test_what_could_end_too_early_is_refused(code: Any, statements: list[str]) -> None:
    new = _of(code, *statements)
    assert isinstance(new, NotRewritten)
    assert new.reason.startswith(ENDS)


def asks_more_than_rows(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    if Order.objects.exists() and Order.objects.first().a:
        return
    Order.objects.update(x=1)


def goes_on_behind(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    if Order.objects.exists():
        Order.objects.update(x=1)
    Order.objects.update(a=1)


def asks_in_the_loop(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    print(Order.objects.count())  # noqa: T201
    for order in Order.objects.all():
        order.x = Order.objects.filter(a=1).count()
        order.save()


@pytest.mark.parametrize(
    ("code", "statements"),
    [
        (asks_more_than_rows, [OWN, "UPDATE t SET x = 1"]),
        (goes_on_behind, [OWN, "UPDATE t SET x = 1; UPDATE t SET a = 1"]),
        (asks_in_the_loop, [COUNT, f"{COUNT} WHERE a = 1", LOOP]),
    ],
)
def test_what_asks_for_more_stays_whole(code: Any, statements: list[str]) -> None:
    assert isinstance(_of(code, *statements), NotRewritten)
