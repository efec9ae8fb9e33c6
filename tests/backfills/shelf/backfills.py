"""Backfills of each kind."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Concat, Length, Lower

from django_confiture.backfills import Backfill
from tests.backfills.shelf.models import Book, Novel


class FillSortTitle(Backfill):
    """One statement a batch."""

    model = "shelf.Book"
    where = Q(sort_title=None)
    values = {"sort_title": Lower("title"), "times_filled": F("times_filled") + 1}


class ProcessSortTitle(Backfill):
    """Python; the package writes what it changed."""

    model = "shelf.Book"
    where = Q(sort_title=None)
    fields = ("sort_title", "times_filled")

    def process(self, rows: models.QuerySet[Book]) -> None:
        for row in rows:
            row.sort_title = row.title.lower()
            row.times_filled += 1


class SaveSortTitle(Backfill):
    """Python that writes by itself."""

    model = "shelf.Book"
    where = Q(sort_title=None)

    def process(self, rows: models.QuerySet[Book]) -> None:
        for row in rows:
            row.sort_title, row.times_filled = row.title.lower(), row.times_filled + 1
            row.save(update_fields=["sort_title", "times_filled"])


class CountBooks(Backfill):
    """SQL without ``where``: nothing but cursor and fence keeps a row from being counted twice."""

    model = "shelf.Book"
    sql = (
        "UPDATE shelf_book SET times_filled = times_filled + 1"
        " WHERE id BETWEEN %(low)s AND %(high)s"
    )


class CountBooksAbove(Backfill):
    """The same in the other usual spelling."""

    model = "shelf.Book"
    sql = (
        "UPDATE shelf_book SET times_filled = times_filled + 1"
        " WHERE id > %(low)s AND id <= %(high)s"
    )


class FillLoanNote(Backfill):
    model = "shelf.Loan"
    where = Q(note=None)
    values = {"note": Value("filled"), "times_filled": F("times_filled") + 1}


class FillCopyLabel(Backfill):
    model = "shelf.Copy"
    where = Q(label=None)
    values = {
        "label": Concat("library", Value(" "), "number", output_field=models.TextField()),
        "times_filled": F("times_filled") + 1,
    }


class CountCopies(Backfill):
    model = "shelf.Copy"
    sql = (
        "UPDATE shelf_copy SET times_filled = times_filled + 1 WHERE (library, number)"
        " BETWEEN (%(low_library)s, %(low_number)s) AND (%(high_library)s, %(high_number)s)"
    )


class FillNovels(Backfill):
    """Fields of a model and of the one that it inherits from."""

    model = "shelf.Novel"
    where = Q(pages=None)
    fields = ("pages", "sort_title", "times_filled")

    def process(self, rows: models.QuerySet[Novel]) -> None:
        for row in rows:
            row.pages = row.pk


class Broken(Backfill):
    """Titles that are too long for their column once they are filled."""

    model = "shelf.Book"
    where = Q(sort_title=None)
    on_row_error = "continue"
    values = {"sort_title": Concat("title", "title"), "times_filled": F("times_filled") + 1}


class BrokenStops(Broken):
    on_row_error = "stop"


class MirroredDefault(Backfill):
    model = "shelf.Book"
    where = Q(times_filled=0)
    values = {"times_filled": Length("title")}
    mirror = True


class Mirrored(Backfill):
    model = "shelf.Book"
    where = Q(sort_title=None)
    values = {"sort_title": Lower("title")}
    mirror = True


class NeverDone(Backfill):
    """What it writes does not make a row stop matching."""

    model = "shelf.Book"
    where = Q(sort_title=None)
    values = {"times_filled": F("times_filled") + 1}


class ChangesKeys(ProcessSortTitle):
    """Python that gives a row another primary key."""

    def process(self, rows: models.QuerySet[Book]) -> None:
        for row in rows:
            row.pk, row.sort_title = row.pk + 1, row.title.lower()


class Changes(Backfill):
    """Which a later release declares as ``changed``."""

    model = "shelf.Book"
    where = Q(times_filled=0)
    values = {"times_filled": F("times_filled") + 1}


class changed:  # noqa: N801 - a namespace
    """What a later release declares: rows that are done match again."""

    class Changes(Backfill):
        model = "shelf.Book"
        where = Q(times_filled__lt=2)
        values = {"times_filled": F("times_filled") + 2}
