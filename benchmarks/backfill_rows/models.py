"""A table of two million rows."""

from django.db import models


class Row(models.Model):
    name = models.TextField()
    number = models.IntegerField()
    search_text = models.TextField(null=True)
    times_filled = models.IntegerField(default=0)

    class Meta:
        db_table = "bench_row"
        app_label = "backfill_rows"
