"""What ``process`` changed arrives as it was, whatever its type."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db.models import F
from django.db.models.functions import Lower

from django_confiture.backfills.batching.write_back import _json_value
from tests.support.backfills import PATH, books, counters, execute, shelf
from tests.support.dry_run import plain_connection

__all__ = ["shelf"]  # a fixture

VALUES: dict[str, list[Any]] = {
    "text": [
        "",
        "NULL",
        "{a,b}",
        "it's",
        'a "quoted" \\ back',
        "ünï → 日本",
        "%s {} $1",
        "\n\t",
        None,
    ],
    "number": [0, -(2**63), 2**63 - 1, None],
    "price": [Decimal("0.10000"), Decimal("-123456789012345.12345"), None],
    "ratio": [0.1, 1e308, -1e-300, math.inf, None],
    "flag": [True, False, None],
    "day": [date(1, 1, 1), date(9999, 12, 31), None],
    "moment": [datetime(2026, 2, 3, 4, 5, 6, 789123, tzinfo=UTC), None],
    "clock": [time(23, 59, 59, 999999), None],
    "raw": [b"\0\xff", None],
    "uuid": [UUID("12345678-1234-5678-1234-567812345678"), None],
    "book_id": [7, None],
    "data": [{"a": [1, None, "x"]}, [], "text", 'a "quoted" \\\\ back', 1.5, {"ü": True}, None],
    "span": [
        timedelta(days=-1, microseconds=5),
        timedelta(days=-3),
        timedelta(days=400, hours=25, microseconds=-1),
        timedelta(0),
        None,
    ],
}


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("attribute", VALUES)
def test_values_arrive(attribute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.apps import apps
    from django.db import transaction
    from django.db.models import Q

    from django_confiture.backfills.batching.batches import do_window
    from django_confiture.backfills.batching.windows import next_window
    from django_confiture.backfills.declared.declaration import Backfill
    from tests.backfills.shelf.models import Everything

    wanted = VALUES[attribute]
    rows = Everything.objects.bulk_create(Everything() for _ in wanted)

    class Sets(Backfill):
        model = "shelf.Everything"
        where = Q(done=False)
        fields = (attribute.removesuffix("_id"), "done")

        def process(self, rows: Any) -> None:
            for row, value in zip(rows, wanted, strict=True):
                setattr(row, attribute, value)
                row.done = True

    with transaction.atomic():
        window = next_window(Everything.objects.all(), after=None, high=None, size=100)
        assert window is not None
        assert do_window(Sets(), window, using="default", apps=apps) == len(rows)
    found = Everything.objects.order_by("pk").values_list(attribute, flat=True)
    assert list(found) == wanted


@pytest.mark.usefixtures("shelf")
def test_an_expression_is_written_as_what_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_confiture.backfills.in_process import run_here
    from tests.backfills.shelf import backfills

    def with_expressions(self: Any, rows: Any) -> None:
        if changed := next((row for row in rows if row.title == "Title 3"), None):
            with plain_connection() as other:
                other.execute("UPDATE shelf_book SET title = 'Else' WHERE id = %s", [changed.pk])
        for row in rows:
            row.sort_title = Lower("title") if row.pk % 2 else row.title.lower()
            row.times_filled = F("times_filled") + 1

    monkeypatch.setattr(backfills.ProcessSortTitle, "fields", ("sort_title", "times_filled"))
    monkeypatch.setattr(backfills.ProcessSortTitle, "process", with_expressions)
    books(4)
    name = PATH + "ProcessSortTitle"
    assert run_here(name, using="default", actor="the test", workers=1) == "completed"
    assert execute("SELECT sort_title, times_filled FROM shelf_book ORDER BY id") == [
        ("title 1", 1),
        ("title 2", 1),
        ("else", 1),
        ("title 4", 1),
    ]


@pytest.mark.usefixtures("shelf")
def test_what_is_too_long_for_its_column_is_not_cut_but_at_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django_confiture.backfills.in_process import run_here
    from tests.backfills.shelf import backfills

    def doubled(self: Any, rows: Any) -> None:
        for row in rows:
            row.sort_title = row.title * (20 if row.pk == 7 else 1)

    monkeypatch.setattr(backfills.ProcessSortTitle, "process", doubled)
    books(10)
    name = PATH + "ProcessSortTitle"
    assert run_here(name, using="default", actor="the test", workers=1) == "failed"
    assert execute("SELECT sort_title FROM shelf_book WHERE id = 7") == [(None,)]


@pytest.mark.usefixtures("shelf")
def test_a_text_with_nul_is_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_confiture.backfills.in_process import run_here
    from tests.backfills.shelf import backfills

    def with_nul(self: Any, rows: Any) -> None:
        for row in rows:
            row.sort_title = "a\0b" if row.pk == 7 else row.title

    monkeypatch.setattr(backfills.ProcessSortTitle, "process", with_nul)
    books(10)
    name = PATH + "ProcessSortTitle"
    assert run_here(name, using="default", actor="the test", workers=1) == "failed"
    assert execute("SELECT error FROM confiture_backfills_backfillrowerror") == [
        ("ValueError: PostgreSQL text can't hold NUL (0x00) characters",)
    ]


@pytest.mark.parametrize(
    ("names", "expected"), [(["text", "book", "data", "span"], True), (["text", "raw"], False)]
)
def test_what_text_can_not_hold_is_written_by_bulk_update(
    shelf: None, names: list[str], expected: bool
) -> None:
    from django_confiture.backfills.batching.write_back import can_be_text
    from tests.backfills.shelf.models import Everything

    assert can_be_text(Everything, names) is expected


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("changes", [("pages", "sort_title", "times_filled"), ()])
def test_a_parents_fields_are_written_and_its_rows_are_locked_meanwhile(
    changes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_confiture.backfills.in_process import run_here
    from tests.backfills.shelf import backfills

    said: list[str] = []

    def process(self: Any, rows: Any) -> None:
        with plain_connection() as other:
            other.execute("SET lock_timeout = '50ms'")
            for table in ("shelf_novel", "shelf_book"):
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    other.execute(f"SELECT FROM {table} FOR UPDATE")
                said.append(table)
        for row in rows:
            row.pages, row.sort_title = row.pk * 2, row.title.lower()
            row.times_filled += 1
            if not changes:
                row.save()

    monkeypatch.setattr(backfills.FillNovels, "fields", changes)
    monkeypatch.setattr(backfills.FillNovels, "process", process)
    books(30)
    execute("INSERT INTO shelf_novel (book_ptr_id) SELECT id FROM shelf_book WHERE mod(id, 3) = 0")
    name = PATH + "FillNovels"
    assert run_here(name, using="default", actor="the test", workers=1) == "completed"
    assert said[:2] == ["shelf_novel", "shelf_book"]
    assert execute(
        "SELECT count(*) FROM shelf_novel n JOIN shelf_book b ON b.id = n.book_ptr_id"
        " WHERE pages = b.id * 2 AND sort_title = lower(title) AND times_filled = 1"
    ) == [(10,)]
    assert counters() == {0: 20, 1: 10}


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("style", ["postgres", "postgres_verbose", "sql_standard", "iso_8601"])
def test_a_duration_means_the_same_in_each_style_of_the_server(style: str) -> None:
    execute(f"SET intervalstyle = {style}")  # which the driver can't read, but PostgreSQL can
    for value in filter(None, VALUES["span"]):
        parts = (
            "extract(day FROM d), extract(epoch FROM d - extract(day FROM d) * interval '1 day')"
        )
        ((days, seconds),) = execute(
            f"SELECT {parts} FROM (SELECT CAST(%s AS interval) AS d) AS one", _json_value(value)
        )
        rest = Decimal(value.seconds) + Decimal(value.microseconds) / 1_000_000
        assert (days, seconds) == (value.days, rest)
