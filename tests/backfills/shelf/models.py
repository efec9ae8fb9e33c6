"""Tables to backfill, one for each kind of key."""

import uuid

from django.db import models


class Book(models.Model):
    title = models.CharField(max_length=100)
    sort_title = models.CharField(max_length=100, null=True)
    times_filled = models.IntegerField(default=0)

    class Meta:
        app_label = "shelf"


class Loan(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    note = models.TextField(null=True)
    times_filled = models.IntegerField(default=0)

    class Meta:
        app_label = "shelf"


class Copy(models.Model):
    pk = models.CompositePrimaryKey("library", "number")
    library = models.CharField(max_length=20)
    number = models.IntegerField()
    label = models.TextField(null=True)
    times_filled = models.IntegerField(default=0)

    class Meta:
        app_label = "shelf"
