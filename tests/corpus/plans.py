"""Plans: what one migration means for the next, and one operation for the other."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import models
from django.db.migrations import (
    AddField,
    AddIndex,
    AlterField,
    CreateModel,
    RemoveField,
    RenameField,
    RenameModel,
    RunPython,
    RunSQL,
)

from django_confiture.operations import RunHook
from tests.corpus.case import ARCHIVE, CUSTOMER, LINE, ORDER, Case, Step, case, plan, sql
from tests.corpus.python_code import run, update_all

_ID = ("id", models.BigAutoField(primary_key=True))
_ADD = AddField("order", "extra", models.IntegerField(null=True))
_ADD_TO_CUSTOMER = AddField("customer", "extra", models.IntegerField(null=True))
_INDEX = AddIndex("order", models.Index(fields=["total"], name="cases_i"))
_TO_CUSTOMER = models.ForeignKey("cases.Customer", models.CASCADE)
_NEW = CreateModel("New", [_ID, ("customer", _TO_CUSTOMER), ("number", models.IntegerField())])


_NEW_OF_ORDER = CreateModel(
    "New", [_ID, ("order", models.ForeignKey("cases.Order", models.CASCADE))]
)


def fill_new_of_order(apps: Any, editor: Any) -> None:
    with editor.connection.cursor() as cursor:
        cursor.execute("INSERT INTO cases_new (order_id) SELECT id FROM cases_order")


def fill_new(apps: Any, editor: Any) -> None:
    with editor.connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cases_new (customer_id, number)"
            " SELECT 1 + i % 2000, i FROM generate_series(1, 12000) i"
        )


def update_a_part(apps: Any, editor: Any) -> None:
    orders = apps.get_model("cases", "Order").objects.using(editor.connection.alias)
    assert orders.filter(pk__lte=2500).update(extra=1) == 2500


def update_few(apps: Any, editor: Any) -> None:
    orders = apps.get_model("cases", "Order").objects.using(editor.connection.alias)
    assert orders.filter(pk__lte=1500).update(extra=1) == 1500


def update_by_keys(apps: Any, editor: Any) -> None:
    orders = apps.get_model("cases", "Order").objects.using(editor.connection.alias)
    for size in (400, 500, 600, 700):
        orders.filter(pk__in=range(size, 2 * size)).update(extra=size)


def read_lines(apps: Any, editor: Any) -> None:
    lines = apps.get_model("cases", "Line").objects.using(editor.connection.alias)
    assert len(lines.filter(quantity=1)) == 30_000


def read_lines_in_order(apps: Any, editor: Any) -> None:
    """By a server-side cursor: its rows are read after its statement has ended."""
    lines = apps.get_model("cases", "Line").objects.using(editor.connection.alias)
    assert sum(1 for _ in lines.order_by("pk").iterator()) == 30_000


def read_tags(apps: Any, editor: Any) -> None:
    tags = apps.get_model("cases", "Tag").objects.using(editor.connection.alias)
    assert len(tags.all()) == 40


def wait(apps: Any, editor: Any) -> None:
    """Stands for mail that is sent, or a service that is asked."""
    editor.connection.cursor().execute("SELECT 1")
    time.sleep(1.1)


CASES: list[Case] = [
    plan("add_then_fill", Step([_ADD]), Step([run(update_all)],
         {("backfill-in-one-transaction", ORDER)}), locks={ORDER: "RowExclusiveLock"}),
    case("add_and_fill", [_ADD, run(update_all)], ("backfill-while-locked", ORDER),
         locks={ORDER: "AccessExclusiveLock"}),
    # A part of the rows is work that grows with the table, too; a few of them are not.
    case("add_and_fill_a_part", [_ADD, run(update_a_part)], ("backfill-while-locked", ORDER)),
    case("add_and_fill_few", [_ADD, run(update_few)]),
    # Each of its statements writes little, and all of them most rows.
    case("add_and_fill_by_keys", [_ADD, run(update_by_keys)],
         ("backfill-while-locked", ORDER)),
    case("add_and_copy_each_row_elsewhere", [_ADD_TO_CUSTOMER, *sql(
        "INSERT INTO cases_archive (payload) SELECT email FROM cases_customer")],
         ("backfill-while-locked", CUSTOMER)),
    # An earlier migration of the dry run holds a stronger lock on the table already.
    plan("add_then_index", Step([_ADD]), Step([_INDEX], {("index-build-blocks-writes", ORDER)}),
         locks={ORDER: "ShareLock"}),
    plan("add_then_check_in_do", Step([_ADD]),
         Step(sql("DO $$ BEGIN ALTER TABLE cases_order ADD CONSTRAINT cases_c CHECK (total > 0);"
                  " END $$"),
              {("scan-blocks-writes", ORDER)})),
    plan("add_then_not_null", Step([_ADD]),
         Step([AlterField("order", "currency", models.CharField(max_length=3))],
              {("not-null-scan", ORDER)}),
         locks={ORDER: "AccessExclusiveLock"}),
    plan("add_then_concurrently", Step([_ADD]),
         Step([AddIndexConcurrently("order", models.Index(fields=["extra"], name="cases_i"))],
              atomic=False),
         locks={ORDER: "ShareUpdateExclusiveLock"}),
    # No one else uses a table that the plan creates, whatever is done to it.
    plan("new_table_changed", Step([_NEW]),
         Step([AddIndex("new", models.Index(fields=["number"], name="cases_n"))]),
         Step([AlterField("new", "number", models.BigIntegerField())]),
         Step([RenameField("new", "number", "amount")]),
         Step([RemoveField("new", "amount")])),
    # Its foreign key goes with it, for which PostgreSQL locks the customers.
    plan("new_table_in_sql", Step([_NEW]),
         Step(sql("CREATE TRIGGER t BEFORE INSERT ON cases_new"
                  " FOR EACH ROW EXECUTE FUNCTION cases_touch()",
                  "CREATE INDEX cases_new_i ON cases_new (number)", "TRUNCATE cases_new",
                  "ALTER TABLE cases_new SET SCHEMA cases_old", "DROP TABLE cases_old.cases_new"),
              {("locks-referenced-table", CUSTOMER)})),
    # The foreign key comes last, so it is checked for all new rows while its target is locked.
    case("new_table_filled", [_NEW, run(fill_new)], ("foreign-key-scan", CUSTOMER)),
    # A hook after the DDL runs after the foreign key was added, to an empty table.
    case("new_table_filled_by_hook", [_NEW, RunHook("tests.corpus.python_code.FillNew")],
         ("backfill-while-locked", CUSTOMER)),
    case("new_table_seeded", [_NEW, *sql("INSERT INTO cases_new (customer_id, number)"
                                         " SELECT id, id FROM cases_customer LIMIT 150")]),
    case("new_table_with_a_row_for_each", [_NEW, *sql("INSERT INTO cases_new (customer_id, number)"
                                                      " SELECT id, id FROM cases_customer")],
         ("foreign-key-scan", CUSTOMER)),
    case("new_table_of_large_table", [_NEW_OF_ORDER, run(fill_new_of_order)],
         ("foreign-key-scan", ORDER)),
    plan("column_of_the_plan", Step([_ADD]), Step([RenameField("order", "extra", "more")]),
         Step([RemoveField("order", "more")])),
    case("work_on_another_table",
         [_ADD, AddIndex("line", models.Index(fields=["product"], name="cases_i"))],
         ("index-build-blocks-writes", LINE), ("work-while-locked", ORDER)),
    case("work_not_atomic",
         [_ADD, AddIndex("line", models.Index(fields=["product"], name="cases_i"))],
         ("index-build-blocks-writes", LINE), atomic=False),
    case("python_waits", [_ADD, run(wait)], ("work-while-locked", ORDER)),
    case("python_waits_first", [run(wait), _ADD]),
    case("read_while_locked", [_ADD, *sql("SELECT sum(quantity + product_id) FROM cases_line")],
         ("work-while-locked", ORDER)),
    # A SELECT without a function is measured, too.
    case("python_reads_while_locked", [_ADD, run(read_lines)], ("work-while-locked", ORDER)),
    case("python_reads_in_order",
         [*sql("SET LOCAL enable_seqscan = off"), _ADD, run(read_lines_in_order)],
         ("work-while-locked", ORDER)),
    case("python_reads_little", [_ADD, run(read_tags)]),
    case("python_reads_first", [run(read_lines), _ADD]),
    case("hook_fills", [_ADD, RunHook("tests.corpus.python_code.FillOrders")],
         ("backfill-while-locked", ORDER)),
    case("hook_fills_alone", RunHook("tests.corpus.python_code.FillOrders"),
         ("backfill-in-one-transaction", ORDER)),
    plan("fk_then_its_index",
         Step([AddField("order", "buyer", models.ForeignKey(
             "cases.Customer", models.CASCADE, null=True, db_index=False, related_name="+"))]),
         Step([AddIndexConcurrently("order", models.Index(fields=["buyer"], name="cases_i"))],
              atomic=False)),
    plan("rename_then_index", Step([RenameModel("Archive", "Attic")], {("table-renamed", ARCHIVE)}),
         Step([AddIndex("attic", models.Index(fields=["payload"], name="cases_i"))],
              {("index-build-blocks-writes", ARCHIVE)})),
    plan("two_indexes_apart", Step([_INDEX], {("index-build-blocks-writes", ORDER)}),
         Step([AddIndex("line", models.Index(fields=["product"], name="cases_j"))],
              {("index-build-blocks-writes", LINE)})),
    case("two_indexes_together",
         [_INDEX, AddIndex("line", models.Index(fields=["product"], name="cases_j"))],
         ("index-build-blocks-writes", ORDER), ("index-build-blocks-writes", LINE)),
    case("no_lock_timeout", _ADD, ("no-lock-timeout", ORDER), lock_timeout=None),
    case("lock_timeout_in_sql",
         [RunSQL("SET LOCAL lock_timeout = '1s'", RunSQL.noop), _ADD], lock_timeout=None),
    case("nothing_to_wait_for", RunPython(RunPython.noop, RunPython.noop), lock_timeout=None),
]  # fmt: skip
