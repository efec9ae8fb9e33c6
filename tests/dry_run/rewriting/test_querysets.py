"""RunPython that is one ``queryset.update()``, and what only looks like it."""

from __future__ import annotations

import ast
import datetime
import datetime as dt
from functools import partial
from typing import Any

import pytest
from django.db import models
from django.db import models as m
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


MIN = NOTHING = None
LIMIT, RATE, ON = 3, 0.5, True
sum = 7  # noqa: A001 - a name of the module comes before Python's own
date = object()
Order = object()


def nested(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    Order.objects.filter(pk__in=[LIMIT + each for each in range(sum)], day__date=ON).update(
        first=datetime.date.max, second=models.Value(RATE), third=m.F("x"), fourth=NOTHING
    )


def test_what_its_module_defines_comes_along() -> None:
    new = _of(RunPython(nested), "UPDATE t SET first = 'web'")
    assert isinstance(new, Rewriting)
    source = snippet(new.files)
    lines = source[: source.index("def ")].splitlines()
    assert {each for each in lines if each} == {
        "import datetime",
        "from django.db import migrations",
        "from django.db import models",
        "from django.db import models as m",
        "LIMIT = 3",
        "NOTHING = None",
        "ON = True",
        "RATE = 0.5",
        "sum = 7",
    }


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


class Sources:
    class Web:
        pass


class Ours:
    pass


Web, Renamed = Sources.Web, Ours
of_a_migration = type("of_a_migration", (), {"__module__": "shop.migrations.0001_initial"})


def made(apps: Any) -> Any:
    return apps.get_model("shop", "Order")


def with_an_object(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.update(source=date)


def with_a_nested_class(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.update(source=Web)


def with_another_name(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.update(source=Renamed)


def with_a_helper(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.update(source=of_a_migration)


def looks_up_by_itself(apps: Any, _schema_editor: Any) -> None:
    model = made(apps)
    model.objects.update(source="web")


def update(**values: Any) -> None:
    raise NotImplementedError(values)


def calls_a_function(apps: Any, _schema_editor: Any) -> None:
    update(source="web")


def passes_a_list(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.update(*[1], source="web")


def deletes(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.delete(source="web")


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
        (RunPython(looks_up_by_itself), ONE, "more than one queryset.update()"),
        (RunPython(calls_a_function), ONE, "more than one queryset.update()"),
        (RunPython(passes_a_list), ONE, "more than one queryset.update()"),
        (RunPython(deletes), ONE, "more than one queryset.update()"),
        (RunPython(with_an_object), ONE, "its code needs date"),
        (RunPython(with_a_nested_class), ONE, "its code needs Web"),
        (RunPython(with_another_name), ONE, "its code needs Renamed"),
        (RunPython(with_a_helper), ONE, "its code needs of_a_migration"),
    ],
)
def test_what_only_looks_like_it(operation: RunPython, sql: str, reason: str) -> None:
    new = _of(operation, sql)
    assert isinstance(new, NotRewritten)
    assert reason in new.reason
