"""RunPython: what no look at the migration file shows."""

from __future__ import annotations

from typing import Any

import psycopg
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import models, transaction
from django.db.migrations import RunPython

from django_confiture import Hook, HookContext, HookPhase, HookResult
from tests.corpus.case import ARCHIVE, ORDER, TAG, Case, case

_BACKFILL = "backfill-in-one-transaction"


def _rows(apps: Any, editor: Any, model: str) -> Any:
    return apps.get_model("cases", model).objects.using(editor.connection.alias)


def update_all(apps: Any, editor: Any) -> None:
    _rows(apps, editor, "Order").update(note="x")


def update_in_batches(apps: Any, editor: Any) -> None:
    orders = _rows(apps, editor, "Order")
    for first in range(1, 20_001, 4_000):
        orders.filter(pk__range=(first, first + 3_999)).update(note="x")


def update_in_atomic_batches(apps: Any, editor: Any) -> None:
    orders = _rows(apps, editor, "Order")
    for first in range(1, 20_001, 4_000):
        with transaction.atomic(using=editor.connection.alias):
            for order in orders.filter(pk__range=(first, first + 3)):
                order.note = "x"
                order.save()
            orders.filter(pk__range=(first, first + 3_999)).update(note="x")


def save_each(apps: Any, editor: Any) -> None:
    for row in _rows(apps, editor, "Archive").filter(pk__lte=3_000):
        row.payload = "x"
        row.save()


def save_some(apps: Any, editor: Any) -> None:
    for row in _rows(apps, editor, "Order").filter(pk__lte=200):
        row.note = "x"
        row.save()


def save_tags(apps: Any, editor: Any) -> None:
    for row in _rows(apps, editor, "Tag"):
        row.name = "x"
        row.save()


def seed(apps: Any, editor: Any) -> None:
    tags = _rows(apps, editor, "Tag")
    for name in ("red", "green", "blue"):
        tags.get_or_create(name=name)


def _create(count: int) -> Any:
    def create(apps: Any, editor: Any) -> None:
        archive = apps.get_model("cases", "Archive")
        rows = [archive(payload=str(i)) for i in range(count)]
        _rows(apps, editor, "Archive").bulk_create(rows, batch_size=1_000)

    return create


def read_all(apps: Any, editor: Any) -> None:
    assert sum(1 for _ in _rows(apps, editor, "Order").iterator()) == 20_000


def index_with_editor(apps: Any, editor: Any) -> None:
    order = apps.get_model("cases", "Order")
    editor.add_index(order, models.Index(fields=["total"], name="cases_i"))


def index_with_cursor(_apps: Any, editor: Any) -> None:
    with editor.connection.cursor() as cursor:
        cursor.execute("CREATE INDEX cases_i ON cases_order (total)")


def not_null_with_driver(_apps: Any, editor: Any) -> None:
    editor.connection.connection.execute("ALTER TABLE cases_order ALTER currency SET NOT NULL")


def copy_rows(_apps: Any, editor: Any) -> None:
    with (
        editor.connection.connection.cursor() as cursor,
        cursor.copy("COPY cases_archive (payload) FROM STDIN") as copy,
    ):
        for number in range(12_000):
            copy.write_row([str(number)])


def delete_orders(apps: Any, editor: Any) -> None:
    _rows(apps, editor, "Line").all().delete()


class FillOrders(Hook):
    """A hook that writes every order."""

    phase = HookPhase.AFTER_DDL

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        written = conn.execute("UPDATE cases_order SET note = 'x'").rowcount
        return HookResult("AFTER_DDL", "FillOrders", rows_affected=written)


class FillNew(Hook):
    """A hook that fills a table that the plan has made."""

    phase = HookPhase.AFTER_DDL

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        written = conn.execute(
            "INSERT INTO cases_new (customer_id, number)"
            " SELECT 1 + i % 2000, i FROM generate_series(1, 12000) i"
        ).rowcount
        return HookResult("AFTER_DDL", "FillNew", rows_affected=written)


def run(code: Any, **options: Any) -> RunPython:
    return RunPython(code, RunPython.noop, **options)


CASES: list[Case] = [
    case("python_update", run(update_all), (_BACKFILL, ORDER)),
    case("python_update_not_atomic", run(update_all), (_BACKFILL, ORDER), atomic=False),
    # Batches in one transaction keep all rows locked until its end.
    case("python_batches_atomic", run(update_in_batches), (_BACKFILL, ORDER)),
    case("python_batches", run(update_in_batches), atomic=False),
    case("python_batches_in_atomic_run", run(update_in_batches, atomic=True), (_BACKFILL, ORDER),
         atomic=False),
    case("python_atomic_batches", run(update_in_atomic_batches), atomic=False),
    case("python_save_each", run(save_each), (_BACKFILL, ARCHIVE)),
    case("python_save_some", run(save_some)),
    case("python_save_tags", run(save_tags)),
    case("python_seed", run(seed)),
    case("python_create_some", run(_create(500))),
    case("python_create_many", run(_create(12_000)), (_BACKFILL, ARCHIVE)),
    case("python_read", run(read_all)),
    case("python_index_with_editor", run(index_with_editor),
         ("index-build-blocks-writes", ORDER)),
    case("python_index_with_cursor", run(index_with_cursor),
         ("index-build-blocks-writes", ORDER), locks={ORDER: "ShareLock"}),
    case("python_not_null", run(not_null_with_driver), ("not-null-scan", ORDER)),
    case("python_copy", run(copy_rows), (_BACKFILL, ARCHIVE)),
    case("python_delete", run(delete_orders), (_BACKFILL, "cases_line")),
    case("python_noop", run(RunPython.noop)),
    case("python_beside_concurrently",
         [AddIndexConcurrently("tag", models.Index(fields=["name"], name="cases_i")), run(seed)],
         atomic=False, locks={TAG: "ShareUpdateExclusiveLock"}),
]  # fmt: skip
