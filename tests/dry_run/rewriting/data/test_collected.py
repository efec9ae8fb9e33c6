"""What a RunPython collects of other tables before its loop comes along with each batch's code."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.migrations import RunPython

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parsing.parser import parse

SQL = "SELECT id, a FROM p; SELECT id, a FROM t; UPDATE t SET x = %s WHERE id = %s"


def _of(code: Any) -> Rewriting | NotRewritten:
    facts = Facts("shop", keys={"t": "id", "p": "id"})
    return rewriting_of(RunPython(code), parse(SQL, placeholders=True), facts)


def dictionary(apps: Any, schema_editor: Any) -> None:
    Line = apps.get_model("shop", "Line")
    Product = apps.get_model("shop", "Product")
    prices = dict(Product.objects.values_list("pk", "price"))
    for pk, product_id in Line.objects.filter(x=None).values_list("pk", "product_id"):
        Line.objects.filter(pk=pk).update(x=prices.get(product_id, 0))


def comprehension(apps: Any, schema_editor: Any) -> None:
    Line = apps.get_model("shop", "Line")
    Product = apps.get_model("shop", "Product")
    prices = {each.code.lower(): each for each in Product.objects.only("code", "price")}
    for line in Line.objects.filter(x=None):
        if line.code in prices:
            line.x = prices[line.code].price
            line.save()


def by_keys(apps: Any, schema_editor: Any) -> None:
    Line = apps.get_model("shop", "Line")
    products = apps.get_model("shop", "Product").objects.in_bulk()
    for line in Line.objects.filter(x=None):
        line.x = products[line.product_id].price
        line.save()


@pytest.mark.parametrize(
    ("code", "collected"),
    [
        (dictionary, "prices = dict(Product.objects.values_list('pk', 'price'))"),
        (comprehension, "prices = {each.code.lower(): each for each in Product.objects.only("),
        (by_keys, "products = apps.get_model('shop', 'Product').objects.in_bulk()"),
    ],
)
def test_it_is_collected_before_the_batches(code: Any, collected: str) -> None:
    new = _of(code)
    assert isinstance(new, Rewriting), new.reason
    source = snippet(new.files)
    assert source.index(collected) < source.index("while True:")
    compile(source, "snippet", "exec")


def of_the_same_model(apps: Any, schema_editor: Any) -> None:
    Line = apps.get_model("shop", "Line")
    before = dict(Line.objects.values_list("pk", "x"))
    for line in Line.objects.all():
        line.x = before.get(line.parent_id)
        line.save()


def of_a_model_written_by_key(apps: Any, schema_editor: Any) -> None:
    Line = apps.get_model("shop", "Line")
    Product = apps.get_model("shop", "Product")
    prices = dict(Product.objects.values_list("pk", "price"))
    for line in Line.objects.all():
        Product.objects.filter(pk=line.pk).update(price=prices.get(line.product_id))


def changed_on_the_way(apps: Any, schema_editor: Any) -> None:
    Line = apps.get_model("shop", "Line")
    Product = apps.get_model("shop", "Product")
    free = list(Product.objects.values_list("pk", flat=True))
    for line in Line.objects.all():
        line.x = free.pop()
        line.save()


def counted(apps: Any, schema_editor: Any) -> None:
    Line = apps.get_model("shop", "Line")
    Product = apps.get_model("shop", "Product")
    seen = Product.objects.in_bulk()
    prices = {each.pk: seen.pop(each.pk) for each in Product.objects.all()}
    for line in Line.objects.all():
        line.x = prices[line.product_id]
        line.save()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (of_the_same_model, "what it collects at first is of a model that it then goes through"),
        (of_a_model_written_by_key, "what it collects at first is of a model"),
        (changed_on_the_way, "its loop carries something from one row to the next"),
        (counted, "its code is more than"),
    ],
)
def test_what_might_be_another_when_it_begins_again(code: Any, reason: str) -> None:
    new = _of(code)
    assert isinstance(new, NotRewritten)
    assert new.reason.startswith(reason)
