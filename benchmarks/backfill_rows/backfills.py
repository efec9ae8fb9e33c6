"""The same work in each of the three ways, and one that counts."""

from django.db.models import Q
from django.db.models.functions import Upper

from django_confiture.backfills import Backfill

UPDATE = "UPDATE bench_row SET search_text = upper(name) WHERE search_text IS NULL"


class ByValues(Backfill):
    model = "backfill_rows.Row"
    where = Q(search_text=None)
    values = {"search_text": Upper("name")}


class BySql(Backfill):
    model = "backfill_rows.Row"
    where = Q(search_text=None)
    sql = UPDATE + " AND id BETWEEN %(low)s AND %(high)s"


class ByProcess(Backfill):
    model = "backfill_rows.Row"
    where = Q(search_text=None)
    fields = ("search_text",)

    def process(self, rows):
        for row in rows:
            row.search_text = row.name.upper()


class Counting(Backfill):
    model = "backfill_rows.Row"
    sql = (
        "UPDATE bench_row SET times_filled = times_filled + 1 WHERE id BETWEEN %(low)s AND %(high)s"
    )


class CountingByProcess(Backfill):
    model = "backfill_rows.Row"
    where = Q(search_text=None)
    fields = ("search_text", "times_filled")

    def process(self, rows):
        for row in rows:
            row.search_text = row.name.upper()
            row.times_filled += 1
