"""RunPython with a loop that saves each row: batches, where it may begin again."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import transaction
from django.db.migrations import RunPython

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parsing.parser import parse

FACTS = Facts("shop", keys={"t": "id"})
SQL = "SELECT id, a FROM t; UPDATE t SET x = %s WHERE id = %s"


def _of(code: Any, sql: str = SQL) -> Rewriting | NotRewritten:
    return rewriting_of(RunPython(code), parse(sql, placeholders=True), FACTS)


def label(order: Any) -> str:
    words = []
    words.append(order.a)
    return part(" ".join(words))


def part(text: str) -> str:
    return text[: len(SUFFIX)]


SUFFIX = "-1"
SEEN: dict[str, int] = {}
COUNTER = [0]


def saves(apps: Any, schema_editor: Any) -> None:
    """Label them."""
    Order = apps.get_model("shop", "Order")
    for order in Order.objects.filter(x=None).order_by("a").iterator(chunk_size=500):
        text = label(order)
        order.x = text + SUFFIX
        order.save(update_fields=["x"])


BATCHES = """\
def saves(apps, schema_editor):
    Order = apps.get_model('shop', 'Order')
    rows = Order.objects.filter(x=None)
    last = None
    while True:
        rest = rows if last is None else rows.filter(pk__gt=last)
        with transaction.atomic(using=schema_editor.connection.alias):
            batch = list(rest.order_by("pk")[:1000])
            if not batch:
                return
            last = batch[-1].pk
            for order in batch:
                text = label(order)
                order.x = text + SUFFIX
                order.save(update_fields=['x'])
"""


def test_rows_are_saved_in_batches() -> None:
    new = _of(saves)
    assert isinstance(new, Rewriting)
    (file,) = new.files
    assert not file.atomic
    source = snippet(new.files)
    assert BATCHES in source
    assert "from django.db import migrations, transaction\n" in source
    assert "\ndef label(order):\n    words = []\n" in source
    assert "\ndef part(text):\n" in source
    assert "\nSUFFIX = '-1'\n" in source
    compile(source, "snippet", "exec")


def locks_first(apps: Any, _schema_editor: Any) -> None:
    with transaction.atomic():
        for order in apps.get_model("shop", "Order").objects.select_for_update().filter(x=None):
            order.x = order.a
            order.save()


def test_rows_that_are_locked_to_work_on_them_are_few() -> None:
    new = _of(locks_first, "SELECT a FROM t WHERE x IS NULL FOR UPDATE; UPDATE t SET x = %s")
    assert isinstance(new, Rewriting), new
    source = snippet(new.files)
    assert "    rows = Order.objects.select_for_update().filter(x=None)\n" in source.replace(
        "apps.get_model('shop', 'Order')", "Order"
    )
    assert "    with transaction.atomic(using=_schema_editor.connection.alias):\n" in source
    assert '        batch = list(rest.order_by("pk")[:100])\n' in source


def updates_in_bulk(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    changed = []
    for order in Order.objects.all():
        if order.a % 2:
            order.x = uuid.uuid4()
            changed.append(order)
    Order.objects.bulk_update(changed, ["x"], batch_size=500)


def test_rows_are_updated_in_bulk_batch_by_batch() -> None:
    new = _of(updates_in_bulk, "SELECT a FROM t; UPDATE t SET x = CASE WHEN id = 1 THEN %s END")
    assert isinstance(new, Rewriting)
    source = snippet(new.files)
    assert "            changed = []\n            for order in batch:\n" in source
    assert "            Order.objects.bulk_update(changed, ['x'], batch_size=500)\n" in source
    assert "import uuid\n" in source


def skips(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        if order.x:
            continue
        order.x = order.get_kind_display()
        order.save()


def only_where_it_has_none(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        if order.x is None:
            order.x = order.customer.name
            order.save()


def trims(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = order.x.strip().lower()
        order.save()


def chooses(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        if order.a:
            word, more = "a", order.b
        else:
            word, more = "b", []
        order.x, order.y = word, [each.upper() for each in more]
        order.save()


@pytest.mark.parametrize("code", [skips, only_where_it_has_none, trims, chooses])
def test_what_may_begin_again(code: Any) -> None:
    assert isinstance(_of(code), Rewriting), _of(code)


def adds(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = order.x + 1
        order.save()


def adds_in_place(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x += 1
        order.save()


def adds_by_a_function(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.a = label(order)
        order.save()


def toggles(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        if order.x:
            order.x = None
        else:
            order.x = 1
        order.save()


def shifts(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = order.y
        order.y = None
        order.save()


def by_the_key_of_what_it_writes(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = order.x_id
        order.save()


def as_it_is_displayed(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = order.get_x_display()
        order.save()


def counts(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = SEEN.setdefault(order.a, len(SEEN))
        order.save()


def remembers(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        if order.a:
            word = order.a
        order.x = word
        order.save()


def numbers(order: Any) -> int:
    COUNTER[0] = COUNTER[0] + order.a
    return COUNTER[0]


def numbers_by_a_function(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = numbers(order)
        order.save()


def recurses(order: Any) -> Any:
    return recurses(order)


def by_recursion(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = recurses(order)
        order.save()


def passes_it_on(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = str(order)
        order.save()


def calls_a_method(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = order.serializable_value("x")
        order.save()


def asks(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all():
        order.x = 1
        input(order.a)
        order.save()


def slices(apps: Any, _schema_editor: Any) -> None:
    for order in apps.get_model("shop", "Order").objects.all()[:5]:
        order.x = 1
        order.save()


def numbers_by_its_list(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    changed = []  # type: ignore[var-annotated]
    for order in Order.objects.all():
        order.x = len(changed)
        changed.append(order)
    Order.objects.bulk_update(changed, ["x"])


def takes_as_many_as_its_list_has_not(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    changed = []  # type: ignore[var-annotated]
    for order in Order.objects.all():
        order.x = order.a
        if len(changed) < 50:
            changed.append(order)
    Order.objects.bulk_update(changed, ["x"])


def enumerates(apps: Any, _schema_editor: Any) -> None:
    for number, order in enumerate(apps.get_model("shop", "Order").objects.all()):
        order.x = number
        order.save()


@pytest.mark.parametrize(
    "code",
    [
        adds, adds_in_place, adds_by_a_function, toggles, shifts, by_the_key_of_what_it_writes,
        as_it_is_displayed, counts, remembers, numbers_by_a_function, by_recursion, passes_it_on,
        calls_a_method, asks, slices, enumerates, numbers_by_its_list,
        takes_as_many_as_its_list_has_not,
    ],
)  # fmt: skip
def test_what_must_stay_one_transaction(code: Any) -> None:
    new = _of(code)
    assert isinstance(new, NotRewritten)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT count(*) FROM t; {SQL}",
        "SELECT * FROM t JOIN t o ON o.id = t.parent_id; UPDATE t SET x = 1",
        f"{SQL}; INSERT INTO u VALUES (1)",
    ],
)
def test_what_depends_on_other_rows_stays(sql: str) -> None:
    assert isinstance(_of(saves, sql), NotRewritten)


def writes_another_model(apps: Any, _schema_editor: Any) -> None:
    Customer = apps.get_model("shop", "Customer")
    for order in apps.get_model("shop", "Order").objects.all():
        Customer.objects.filter(pk=order.pk).update(x=order.customer.x_of_last_year)


_ROWS_OF_ANOTHER_MODEL = "SELECT id, customer_id FROM o; UPDATE t SET x = %s WHERE id = %s"


def test_rows_of_another_model_are_written_by_the_keys_of_a_loop() -> None:
    assert isinstance(_of(writes_another_model, _ROWS_OF_ANOTHER_MODEL), Rewriting)


def test_rows_of_another_model_that_depend_on_its_rows_stay() -> None:
    new = _of(writes_another_model, f"{_ROWS_OF_ANOTHER_MODEL}; SELECT y FROM t WHERE id = %s")
    assert isinstance(new, NotRewritten)
    assert "depends on other rows of the same table" in new.reason


def updates_what_is_full(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    full = []
    for order in Order.objects.all():
        order.x = order.a
        full.append(order)
        if len(full) >= 500:
            Order.objects.bulk_update(full, ["x"])
            full = []
    if full:
        Order.objects.bulk_update(full, ["x"])


def updates_what_is_full_and_clears(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    full = []
    for order in Order.objects.all():
        order.x = order.a
        full.append(order)
        if len(full) == 500:
            Order.objects.bulk_update(full, ["x"])
            full.clear()
    Order.objects.bulk_update(full, ["x"])


@pytest.mark.parametrize("code", [updates_what_is_full, updates_what_is_full_and_clears])
def test_a_list_that_is_written_where_it_is_full_is_one_batch(code: Any) -> None:
    new = _of(code)
    assert isinstance(new, Rewriting), new
    source = snippet(new.files)
    assert source.count("bulk_update") == 1
    assert "len(full)" not in source


def forgets_the_rest(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    full = []
    for order in Order.objects.all():
        order.x = order.a
        full.append(order)
        if len(full) == 500:
            Order.objects.bulk_update(full, ["x"])
            full.clear()


def updates_other_fields_of_the_rest(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    full = []
    for order in Order.objects.all():
        order.x = order.a
        full.append(order)
        if len(full) == 500:
            Order.objects.bulk_update(full, ["x"])
            full = []
    if full:
        Order.objects.bulk_update(full, ["y"])


def keeps_the_list(apps: Any, _schema_editor: Any) -> None:
    Order = apps.get_model("shop", "Order")
    full = []
    for order in Order.objects.all():
        order.x = order.a
        full.append(order)
        if len(full) == 500:
            Order.objects.bulk_update(full, ["x"])
            order.y = len(full)
    if full:
        Order.objects.bulk_update(full, ["x"])


@pytest.mark.parametrize(
    "code", [forgets_the_rest, updates_other_fields_of_the_rest, keeps_the_list]
)
def test_a_list_that_is_written_otherwise_stays(code: Any) -> None:
    assert isinstance(_of(code), NotRewritten)
