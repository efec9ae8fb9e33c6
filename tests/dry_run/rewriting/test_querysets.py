"""RunPython that is one ``queryset.update()``, and what only looks like it."""

from __future__ import annotations

import ast
import datetime as dt
from functools import partial
from typing import Any

import pytest
from django.db.migrations import RunPython
from django.db.models import F

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parser import parse

FACTS = Facts("shop", keys={"t": "id"})
WEB = "web"


def _of(operation: RunPython, sql: str) -> Rewriting | NotRewritten:
    return rewriting_of(operation, parse(sql, placeholders=False), FACTS)


def fill(apps: Any, schema_editor: Any) -> None:
    """Fill it."""
    Order = apps.get_model("shop", "Order")
    db = schema_editor.connection.alias
    Order.objects.using(db).filter(day__gt=dt.date(2026, 1, 1)).update(source=WEB, total=F("sum"))


def test_one_update_becomes_batches() -> None:
    new = _of(
        RunPython(fill, RunPython.noop, elidable=True), "UPDATE t SET source = 'web', total = sum"
    )
    assert isinstance(new, Rewriting)
    source = snippet(new.files)
    ast.parse(source)
    for line in (
        "import datetime as dt\n",
        "from django.db.models.expressions import F\n",
        "WEB = 'web'\n",
        "    rows = Order.objects.using(db).filter(day__gt=dt.date(2026, 1, 1))\n",
        "    values = dict(source=WEB, total=F('sum'))\n",
        "        rows.filter(pk__in=batch).update(**values)\n",
        "    atomic = False\n",
        "reverse_code=migrations.RunPython.noop",
    ):
        assert line in source


def direct(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.update(source="web")


def test_it_stays_irreversible() -> None:
    new = _of(RunPython(direct), "UPDATE t SET source = 'web'")
    assert isinstance(new, Rewriting)
    assert "reverse_code" not in snippet(new.files)


def prints(apps: Any, _schema_editor: Any) -> None:
    print("so")  # noqa: T201
    apps.get_model("shop", "Order").objects.update(source="web")


def sliced(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.all()[:3].update(source="web")


def counts(apps: Any, _schema_editor: Any) -> None:
    rows = apps.get_model("shop", "Order")
    rows.objects.update(source="web")


ONE = "UPDATE t SET source = 'web'"


@pytest.mark.parametrize(
    ("operation", "sql", "reason"),
    [
        (RunPython(direct), f"{ONE}; {ONE}", "more than one UPDATE"),
        (RunPython(direct), "DELETE FROM t", "more than one UPDATE"),
        (RunPython(direct), "UPDATE t SET total = total + 1", "must not run twice"),
        (RunPython(direct), "UPDATE other SET total = 1", "has no primary key"),
        (RunPython(direct, prints), ONE, "has a way back"),
        (RunPython(direct, atomic=True), ONE, "its own transaction"),
        (RunPython(partial(direct)), ONE, "is not a plain function"),
        (RunPython(lambda apps, schema_editor: None), ONE, "can't be read"),
        (RunPython(prints), ONE, "more than one queryset.update()"),
        (RunPython(sliced), ONE, "more than one queryset.update()"),
        (RunPython(counts), ONE, "more than one queryset.update()"),
    ],
)
def test_what_only_looks_like_it(operation: RunPython, sql: str, reason: str) -> None:
    new = _of(operation, sql)
    assert isinstance(new, NotRewritten)
    assert reason in new.reason
