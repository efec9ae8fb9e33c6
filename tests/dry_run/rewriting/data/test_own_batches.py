"""RunPython with batches of its own: a transaction for each, where it may begin again."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.core.paginator import Paginator
from django.db import connection, transaction
from django.db.migrations import RunPython

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parsing.parser import parse

FACTS = Facts("shop", keys={"t": "id"})
LEFT = "SELECT t.id FROM t WHERE t.x IS NULL LIMIT 1000; UPDATE t SET x = %s WHERE t.id IN (%s)"
PAGES = (
    "SELECT COUNT(*) AS n FROM t; SELECT t.id, t.x FROM t ORDER BY t.id ASC LIMIT 1000;"
    " SELECT t.id, t.x FROM t ORDER BY t.id ASC LIMIT 1000 OFFSET 1000;"
    " UPDATE t SET x = %s WHERE t.id = %s"
)
SIZE = 1000
SEEN: dict[int, int] = {}


def _of(code: Any, sql: str) -> Rewriting | NotRewritten:
    return rewriting_of(RunPython(code), parse(sql, placeholders=True), FACTS)


def by_keys(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    left = T.objects.filter(x=None)
    while True:
        keys = list(left.values_list("pk", flat=True)[:SIZE])
        if not keys:
            break
        T.objects.filter(pk__in=keys).update(x=1)
        time.sleep(0.1)


BY_KEYS = """\
    while True:
        with transaction.atomic(using=schema_editor.connection.alias):
            keys = list(T.objects.filter(x=None).values_list('pk', flat=True)[:SIZE])
            if not keys:
                break
            T.objects.filter(pk__in=keys).update(x=1)
            time.sleep(0.1)
"""


def while_there_are_any(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    size = 500
    while keys := list(T.objects.filter(x=None).values_list("pk", flat=True)[:size]):
        with transaction.atomic():
            rows = []
            for row in T.objects.filter(pk__in=keys):
                row.x = row.a + 1
                rows.append(row)
            T.objects.bulk_update(rows, ["x"])


WHILE_THERE_ARE_ANY = """\
    while True:
        with transaction.atomic(using=schema_editor.connection.alias):
            if not (keys := list(T.objects.filter(x=None).values_list('pk', flat=True)[:size])):
                break
            with transaction.atomic():
"""


def in_sql(apps: Any, schema_editor: Any) -> None:
    with connection.cursor() as cursor:
        while True:
            cursor.execute("UPDATE t SET x = 1 WHERE id IN (SELECT id FROM t LIMIT 1000)")
            if cursor.rowcount == 0:
                return


IN_SQL = """\
    with connection.cursor() as cursor:
        while True:
            with transaction.atomic(using=schema_editor.connection.alias):
                cursor.execute('UPDATE
"""


def moves(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    Log = apps.get_model("shop", "Log")
    while True:
        rows = list(T.objects.filter(x=None)[:SIZE])
        if not rows:
            return
        Log.objects.bulk_create([Log(a=row.a) for row in rows])
        T.objects.filter(pk__in=[row.pk for row in rows]).delete()


def by_slices(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    total = T.objects.count()
    for start in range(0, total, SIZE):
        batch = list(T.objects.order_by("pk")[start : start + SIZE])
        for row in batch:
            row.x = row.a
        T.objects.bulk_update(batch, ["x"])


BY_SLICES = """\
    total = T.objects.count()
    for start in range(0, total, SIZE):
        with transaction.atomic(using=schema_editor.connection.alias):
            batch = list(T.objects.order_by('pk')[start:start + SIZE])
"""


def by_pages(apps: Any, schema_editor: Any) -> None:
    paginator = Paginator(apps.get_model("shop", "T").objects.order_by("pk"), SIZE)
    for number in paginator.page_range:
        for row in paginator.page(number).object_list:
            row.x = row.a
            row.save(update_fields=["x"])


def after_the_last(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    last = 0
    while True:
        batch = list(T.objects.filter(pk__gt=last).order_by("pk")[:SIZE])
        if not batch:
            break
        for row in batch:
            row.x = row.a
        T.objects.bulk_update(batch, ["x"])
        last = batch[-1].pk


@pytest.mark.parametrize(
    ("code", "sql", "text"),
    [
        (by_keys, LEFT, BY_KEYS),
        (while_there_are_any, LEFT, WHILE_THERE_ARE_ANY),
        (in_sql, "UPDATE t SET x = 1 WHERE id IN (SELECT id FROM t LIMIT 1000)", IN_SQL.strip()),
        (moves, f"{LEFT}; INSERT INTO log (a) VALUES (%s); DELETE FROM t", "    while True:\n"),
        (by_slices, PAGES, BY_SLICES),
        (by_pages, PAGES, "for number in paginator.page_range:\n        with transaction.atomic("),
        (after_the_last, PAGES, "last = batch[-1].pk"),
    ],
)  # fmt: skip
def test_each_batch_has_its_own_transaction(code: Any, sql: str, text: str) -> None:
    new = _of(code, sql)
    assert isinstance(new, Rewriting), new
    (file,) = new.files
    assert not file.atomic
    source = snippet(new.files)
    assert text in source, source
    assert re.search(r"^from django\.db import (\w+, )*transaction$", source, re.MULTILINE)
    compile(source, "snippet", "exec")


def counts_up(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    number = 0
    while True:
        keys = list(T.objects.filter(x=None).values_list("pk", flat=True)[:SIZE])
        if not keys:
            break
        number += 1
        T.objects.filter(pk__in=keys).update(x=number)


def remembers(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    while True:
        keys = list(T.objects.filter(x=None).values_list("pk", flat=True)[:SIZE])
        if not keys:
            break
        SEEN[keys[0]] = len(SEEN)
        T.objects.filter(pk__in=keys).update(x=len(SEEN))


def remembers_by_a_method(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    while True:
        keys = list(T.objects.filter(x=None).values_list("pk", flat=True)[:SIZE])
        if not keys:
            break
        T.objects.filter(pk__in=keys).update(x=SEEN.setdefault(keys[0], len(SEEN)))


def reads_before(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    first = T.objects.filter(x=None).first()
    while keys := list(T.objects.filter(x=None).values_list("pk", flat=True)[:SIZE]):
        T.objects.filter(pk__in=keys).update(x=first.a)


def numbers_pages(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for start in range(0, T.objects.count(), SIZE):
        for row in T.objects.order_by("pk")[start : start + SIZE]:
            row.x = start
            row.save()


def adds(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for start in range(0, T.objects.count(), SIZE):
        for row in T.objects.order_by("pk")[start : start + SIZE]:
            row.x = row.x + 1
            row.save()


def makes_rows(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for start in range(0, T.objects.count(), SIZE):
        T.objects.bulk_create([T(a=each.a) for each in T.objects.order_by("pk")[start : start + 9]])


def all_at_once(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    while T.objects.filter(x=None).exists():
        T.objects.filter(x=None).update(x=1)


def when_all_is_done(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    while keys := list(T.objects.filter(x=None).values_list("pk", flat=True)[:SIZE]):
        transaction.on_commit(SEEN.clear)
        T.objects.filter(pk__in=keys).update(x=1)


def beside_another(apps: Any, schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    T.objects.update(a=1)
    while keys := list(T.objects.filter(x=None).values_list("pk", flat=True)[:SIZE]):
        T.objects.filter(pk__in=keys).update(x=1)


@pytest.mark.parametrize(
    "code",
    [
        counts_up, remembers, remembers_by_a_method, reads_before, all_at_once, when_all_is_done,
        beside_another,
    ],
)  # fmt: skip
def test_what_is_left_to_do_has_to_say_where_it_goes_on(code: Any) -> None:
    assert isinstance(_of(code, LEFT), NotRewritten)


@pytest.mark.parametrize("code", [numbers_pages, adds, makes_rows])
def test_what_begins_again_has_to_write_the_same(code: Any) -> None:
    assert isinstance(_of(code, PAGES), NotRewritten)


@pytest.mark.parametrize(
    "sql",
    [
        PAGES.replace("ORDER BY t.id ASC ", ""),
        PAGES.replace("FROM t ORDER", "FROM t WHERE t.x IS NULL ORDER"),
        PAGES.replace("t.id ASC", "t.x ASC"),
        f"{PAGES}; SELECT t.x FROM t WHERE t.id = %s ORDER BY id LIMIT 21",
        f"{PAGES}; INSERT INTO log (a) VALUES (%s)",
        f"{PAGES}; DELETE FROM log",
    ],
)
def test_pages_have_to_stay_the_same(sql: str) -> None:
    assert isinstance(_of(by_slices, sql), NotRewritten)


def test_what_changes_the_schema_is_no_batch() -> None:
    new = _of(by_keys, f"{LEFT}; CREATE INDEX ON t (x)")
    assert new == NotRewritten("its code does more than update and delete rows")
