"""The state of each backfill. The rows live in the database that is backfilled.

Only so can a worker commit its batch and what it has done in one transaction.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

APP_LABEL = "confiture_backfills"
"""Said here: where the app is not installed, a model would become one of django_confiture's."""


class BackfillState(models.TextChoices):
    """Where a backfill stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FAILED = "failed"
    COMPLETED = "completed"


ENDED = (BackfillState.COMPLETED, BackfillState.CANCELLED, BackfillState.FAILED)


class BackfillRun(models.Model):
    """One backfill, by the dotted path of its class."""

    name = models.CharField(max_length=255, unique=True)
    state = models.CharField(
        max_length=9, choices=BackfillState.choices, default=BackfillState.QUEUED
    )
    total = models.BigIntegerField(null=True)
    """Rows to do: the planner's estimate, and once all is done what was counted."""
    pass_number = models.PositiveIntegerField(default=1)
    """From 2 on, rows are done that were inserted or changed during the passes before."""
    workers_wanted = models.PositiveSmallIntegerField(default=1)
    class_hash = models.CharField(max_length=64, blank=True)
    """A hash of the class that it began with; empty before that."""
    mirrored = models.BooleanField(default=False)
    """Whether the package's trigger stands on the table."""
    last_error = models.TextField(blank=True)
    queued_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        app_label = APP_LABEL
        default_permissions = ("view",)
        permissions = (("operate_backfillrun", "Can start, pause, resume, cancel and retry"),)
        ordering = ("name",)
        verbose_name = _("backfill")

    def __str__(self) -> str:
        return f"{self.name}: {self.state}"


class BackfillRange(models.Model):
    """A range of keys, ``low < key <= high``, that one worker at a time holds a lease on."""

    run = models.ForeignKey(BackfillRun, on_delete=models.CASCADE, related_name="ranges")
    position = models.PositiveIntegerField()
    pass_number = models.PositiveIntegerField(default=1)
    """0: a row that failed and is tried again."""
    low = models.JSONField(null=True)
    """None: from the first key on."""
    high = models.JSONField(null=True)
    """None: to the last key, those inserted meanwhile included."""
    cursor = models.JSONField(null=True)
    """The last key that is done; None: none is."""
    done = models.BigIntegerField(default=0)
    finished = models.BooleanField(default=False)
    generation = models.PositiveBigIntegerField(default=0)
    """Counted up with each lease: a worker with an older one can't commit."""
    worker = models.CharField(max_length=255, blank=True)
    leased_until = models.DateTimeField(null=True)
    """By the server's clock."""
    batch_size = models.PositiveIntegerField(null=True)
    seconds_per_row = models.FloatField(null=True)
    """Smoothed; None before the first batch."""
    rows_per_second = models.FloatField(null=True)
    """What the worker comes to, its waits included."""
    throttled_by = models.JSONField(default=list)

    class Meta:
        app_label = APP_LABEL
        default_permissions = ("view",)
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(
                fields=("run", "position"), name="confiture_backfill_range_position"
            ),
        )

    def __str__(self) -> str:
        return f"Range {self.position} of {self.run_id}"


class BackfillChain(models.Model):
    """Tasks that follow one another, each queued by the one before."""

    run = models.ForeignKey(BackfillRun, on_delete=models.CASCADE, related_name="chains")
    number = models.PositiveSmallIntegerField()
    generation = models.PositiveBigIntegerField(default=0)
    """Counted up by each task that starts; one that was queued with an older one ends at once."""
    queued_at = models.DateTimeField(null=True)
    """When the newest task was queued, by the server's clock."""

    class Meta:
        app_label = APP_LABEL
        default_permissions = ()
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(
                fields=("run", "number"), name="confiture_backfill_chain_number"
            ),
        )

    def __str__(self) -> str:
        return f"Chain {self.number} of {self.run_id}"


class BackfillRowError(models.Model):
    """A row that could not be done, and why."""

    run = models.ForeignKey(BackfillRun, on_delete=models.CASCADE, related_name="row_errors")
    key = models.JSONField()
    after = models.JSONField(null=True)
    """The key before it."""
    skipped = models.BooleanField()
    """Whether its range went on behind it."""
    error = models.TextField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = APP_LABEL
        default_permissions = ("view",)
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.key}: {self.error}"


class BackfillEvent(models.Model):
    """The audit trail: who did what to a backfill, and what became of it."""

    run = models.ForeignKey(BackfillRun, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    action = models.CharField(max_length=16)
    actor = models.CharField(max_length=255)
    """A user of the admin, or of the operating system and its host."""
    detail = models.TextField(blank=True)

    class Meta:
        app_label = APP_LABEL
        default_permissions = ("view",)
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"
