"""RunPython that updates querysets, and what only looks like it."""

from __future__ import annotations

import datetime
import datetime as dt
from functools import partial
from typing import Any

import pytest
from django import VERSION
from django.db import models
from django.db import models as m
from django.db.migrations import RunPython
from django.db.models import F

from django_confiture.dry_run.rewriting.data.bodies import MORE
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import CodeInBatches, NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parsing.parser import parse

FACTS = Facts("shop", keys={"t": "id"})
WEB = "web"


def _of(operation: RunPython, sql: str) -> Rewriting | NotRewritten:
    return rewriting_of(operation, parse(sql, placeholders=False), FACTS)


def fill(apps: Any, schema_editor: Any) -> None:
    """Fill it."""
    Order = apps.get_model("shop", "Order")
    db = schema_editor.connection.alias
    Order.objects.using(db).filter(day__gt=dt.date(2026, 1, 1)).update(source=WEB, total=F("sum"))


BATCHES = """\
import datetime as dt

from django.db import migrations
from django.db.models import F

WEB = 'web'


def fill(apps, schema_editor):
    Order = apps.get_model('shop', 'Order')
    db = schema_editor.connection.alias
    rows = Order.objects.using(db).filter(day__gt=dt.date(2026, 1, 1))
    values = dict(source=WEB, total=F('sum'))
    last = None
    while True:
        rest = rows if last is None else rows.filter(pk__gt=last)
        batch = list(rest.order_by("pk").values_list("pk", flat=True)[:5000])
        if not batch:
            return
        rows.filter(pk__in=batch).update(**values)
        last = batch[-1]


# Each batch commits by itself, so no row stays locked
class Migration(migrations.Migration):
    atomic = False

    operations = [
        migrations.RunPython(
            code=fill,
            reverse_code=migrations.RunPython.noop,
            hints={'x': 1},%s
        ),
    ]
"""
ELIDABLE = "\n            elidable=True," if VERSION >= (6, 1) else ""
"""Before 6.1, Django's ``RunPython.deconstruct()`` leaves it out."""


def test_one_update_becomes_batches() -> None:
    new = _of(
        RunPython(fill, RunPython.noop, elidable=True, hints={"x": 1}),
        "UPDATE t SET source = 'web', total = sum",
    )
    assert isinstance(new, Rewriting)
    assert snippet(new.files).strip() == BATCHES.strip() % ELIDABLE
    (file,) = new.files
    assert (file.what, file.atomic) == ("fill", False)
    assert isinstance(file.fill, CodeInBatches)
    assert file.fill.elidable


NOTHING = None
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
        "from django.db import migrations, models",
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


def asks(apps: Any, _schema_editor: Any) -> None:
    input("so")
    apps.get_model("shop", "Order").objects.update(source="web")


def sliced(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.all()[:3].update(source="web")


def elsewhere(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.update(source="web")


elsewhere.__module__ = "shop.code"


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


def unchanged(function: Any) -> Any:
    return function


@unchanged
def decorated(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order").objects.update(source="web")


def with_three(apps: Any, _schema_editor: Any, _more: Any = None) -> None:
    apps.get_model("shop", "Order").objects.update(source="web")


def counts_first(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "Order")
    apps.get_model("shop", "Order").objects.update(source="web")


def goes_by_others(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    Order.objects.select_related("shop").update(source="web")


def of_a_list(apps: Any, _schema_editor: Any) -> None:
    [apps][0].update(source="web")


def returns(apps: Any, _schema_editor: Any) -> Any:
    return apps.get_model("shop", "Order").objects.update(source="web")


def clear(apps: Any, schema_editor: Any) -> None:
    """Forget it."""
    Order = apps.get_model("shop", "Order")
    Order.objects.using(schema_editor.connection.alias).filter(total__gt=LIMIT).update(source=WEB)


def passes(apps: Any, schema_editor: Any) -> None:
    pass


def test_the_way_back_comes_along_as_it_is() -> None:
    new = _of(RunPython(direct, clear), "UPDATE t SET source = 'web'")
    assert isinstance(new, Rewriting)
    source = snippet(new.files)
    assert "LIMIT = 3\nWEB = 'web'\n" in source
    assert "def clear(apps, schema_editor):" in source
    assert ".filter(total__gt=LIMIT).update(source=WEB)\n" in source
    assert "reverse_code=clear," in source
    compile(source, "snippet", "exec")


def test_a_way_back_may_do_nothing() -> None:
    new = _of(RunPython(direct, passes), "UPDATE t SET source = 'web'")
    assert isinstance(new, Rewriting)
    assert "reverse_code=passes," in snippet(new.files)


_COMPILED: dict[str, Any] = {}
exec("def without_source(apps, schema_editor): pass", _COMPILED)

ONE = "UPDATE t SET source = 'web'"
OTHER_ROWS = "what it writes depends on other rows of the same table"
OTHER_MODULE = "its way back is the same function, or one of another module"


@pytest.mark.parametrize(
    ("operation", "sql", "reason"),
    [
        (
            RunPython(direct),
            f"{ONE}; UPDATE t SET a = 1",
            "it sent other UPDATEs than its code shows",
        ),
        (RunPython(direct), f"SELECT a FROM t; {ONE}", OTHER_ROWS),
        (RunPython(direct), "DELETE FROM t", "its code does more than update and delete rows"),
        (RunPython(direct), "SELECT 1", "its code updates no rows"),
        (
            RunPython(direct),
            "UPDATE t SET total = total + 1",
            "it sets a column to a value computed from that column: it must not run twice",
        ),
        (
            RunPython(direct),
            "UPDATE other SET total = 1",
            "other has no primary key of one column to go by",
        ),
        (RunPython(direct, direct), ONE, OTHER_MODULE),
        (RunPython(direct, elsewhere), ONE, OTHER_MODULE),
        (RunPython(direct, with_a_helper), ONE, "its code needs of_a_migration"),
        (RunPython(direct, atomic=True), ONE, "its code has its own transaction"),
        (RunPython(partial(direct)), ONE, "its code is not a plain function"),
        (RunPython(lambda apps, schema_editor: None), ONE, "the source of its code can't be read"),
        (
            RunPython(_COMPILED["without_source"]),
            ONE,
            "the source of its code can't be read",
        ),
        (RunPython(asks), ONE, MORE),
        (RunPython(sliced), ONE, MORE),
        (RunPython(looks_up_by_itself), ONE, MORE),
        (RunPython(calls_a_function), ONE, MORE),
        (RunPython(passes_a_list), ONE, MORE),
        (RunPython(decorated), ONE, "the source of its code can't be read"),
        (RunPython(with_three), ONE, "the source of its code can't be read"),
        (RunPython(counts_first), ONE, MORE),
        (RunPython(goes_by_others), ONE, MORE),
        (RunPython(of_a_list), ONE, MORE),
        (RunPython(returns), ONE, MORE),
        (RunPython(deletes), ONE, MORE),
        (RunPython(with_an_object), ONE, "its code needs date"),
        (RunPython(with_a_nested_class), ONE, "its code needs Web"),
        (RunPython(with_another_name), ONE, "its code needs Renamed"),
        (RunPython(with_a_helper), ONE, "its code needs of_a_migration"),
    ],
)
def test_what_only_looks_like_it(operation: RunPython, sql: str, reason: str) -> None:
    new = _of(operation, sql)
    assert isinstance(new, NotRewritten)
    assert new.reason == reason
