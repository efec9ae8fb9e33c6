"""RunPython that prints, logs, and counts rows for that: batches without it."""

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
SEEN: list[int] = []
SQL = "SELECT id, a FROM t; UPDATE t SET x = %s WHERE id = %s"


def _of(code: Any) -> Rewriting | NotRewritten:
    facts = Facts("shop", keys={"t": "id"})
    return rewriting_of(RunPython(code), parse(SQL, placeholders=True), facts)


def gilds(apps: Any, schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    count = 0
    print("Filling x ...")  # noqa: T201
    for order in Order.objects.all():
        if order.a > 10:
            order.x = "gold"
        else:
            logger.debug("%s is small", order.a)
            order.x = "bronze"
        order.save()
        count += 1
        if count % 1000 == 0:
            print(f"{count} done", len(order.x))  # noqa: T201
    logger.info("%d in all", count)


def test_output_is_left_out() -> None:
    new = _of(gilds)
    assert isinstance(new, Rewriting), new
    code = snippet(new.files)
    assert "order.x = 'gold'" in code
    for gone in ("print", "logger", "count"):
        assert gone not in code


def keeps_what_it_counts(apps: Any, schema_editor: Any) -> None:
    count = 0
    for order in apps.get_model("shop", "Order").objects.all():
        count += 1  # noqa: SIM113
        order.x = count
        order.save()


def prints_what_it_changes(apps: Any, schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = order.a
        order.save()
        print(SEEN.pop())  # noqa: T201


@pytest.mark.parametrize("code", [keeps_what_it_counts, prints_what_it_changes])
def test_what_does_more_is_no_output(code: Any) -> None:
    assert isinstance(_of(code), NotRewritten)
