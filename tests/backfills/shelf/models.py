"""Tables to backfill, one for each kind of key."""

import uuid

from django.db import models


class Book(models.Model):
    title = models.CharField(max_length=100)
    sort_title = models.CharField(max_length=100, null=True)
    times_filled = models.IntegerField(default=0)

    class Meta:
        app_label = "shelf"


class Novel(Book):
    pages = models.IntegerField(null=True)

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


class Everything(models.Model):
    text = models.TextField(null=True)
    number = models.BigIntegerField(null=True)
    price = models.DecimalField(max_digits=20, decimal_places=5, null=True)
    ratio = models.FloatField(null=True)
    flag = models.BooleanField(null=True)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    clock = models.TimeField(null=True)
    uuid = models.UUIDField(null=True)
    book = models.ForeignKey(Book, on_delete=models.CASCADE, null=True, db_constraint=False)
    data = models.JSONField(null=True)
    span = models.DurationField(null=True)
    raw = models.BinaryField(null=True)
    done = models.BooleanField(default=False)

    class Meta:
        app_label = "shelf"
