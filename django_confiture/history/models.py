"""The ledger. Rows are added and never changed; see :mod:`django_confiture.history.hash_chain`."""

from __future__ import annotations

from django.db import models


class _Chained(models.Model):
    """A row of a ledger: its number, and the hash over its content and the previous hash."""

    number = models.PositiveBigIntegerField(unique=True)
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        abstract = True


class MigrationExecution(_Chained):
    """One run of one migration, with who ran it and how it ended."""

    database = models.CharField(max_length=255)
    app_label = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    direction = models.CharField(max_length=8)
    outcome = models.CharField(max_length=9)
    error_type = models.CharField(max_length=255, blank=True)
    attempts = models.PositiveIntegerField(default=1)
    blockers = models.JSONField(default=list, blank=True)
    """Who was in the way: for each ``attempt``, ``relation``, ``mode``, ``waited_ms`` and what log
    events say of a session."""
    source_hash = models.CharField(max_length=64, blank=True, default="", db_default="")
    """Of the migration's file as it was when it ran; empty where there was none to read."""
    started_at = models.DateTimeField()
    duration_ms = models.FloatField()
    os_user = models.CharField(max_length=255)
    host = models.CharField(max_length=255)

    class Meta:
        default_permissions = ("view",)
        ordering = ("-number",)
        indexes = (models.Index(fields=("app_label", "name"), name="confiture_execution_name"),)

    def __str__(self) -> str:
        return f"{self.app_label}.{self.name} on {self.database}: {self.outcome}"


class StatementExecution(models.Model):
    """One SQL text that the migration sent through Django's cursors, one or more times."""

    execution = models.ForeignKey(
        MigrationExecution, on_delete=models.CASCADE, related_name="statements"
    )
    position = models.PositiveIntegerField()
    operation = models.PositiveIntegerField(null=True)
    sql = models.TextField()
    executions = models.PositiveIntegerField()
    duration_ms = models.FloatField()
    rows = models.BigIntegerField(null=True)

    class Meta:
        default_permissions = ("view",)
        ordering = ("position",)

    def __str__(self) -> str:
        return self.sql[:80]


class HookExecution(models.Model):
    """One hook that ran, failed or was skipped during the migration."""

    execution = models.ForeignKey(
        MigrationExecution, on_delete=models.CASCADE, related_name="hooks"
    )
    position = models.PositiveIntegerField()
    hook = models.CharField(max_length=255)
    phase = models.CharField(max_length=32)
    outcome = models.CharField(max_length=9)
    started_at = models.DateTimeField()
    duration_ms = models.FloatField()
    rows = models.BigIntegerField()
    error_type = models.CharField(max_length=255, blank=True)

    class Meta:
        default_permissions = ("view",)
        ordering = ("position",)

    def __str__(self) -> str:
        return f"{self.hook} in {self.phase}: {self.outcome}"


class LedgerHead(models.Model):
    """Where a ledger begins and ends; every writer locks its row.

    The rows are made with the tables, so a missing one was deleted.
    """

    ledger = models.CharField(max_length=16, primary_key=True)
    last_number = models.PositiveBigIntegerField(default=0)
    last_hash = models.CharField(max_length=64, blank=True)
    pruned_number = models.PositiveBigIntegerField(default=0)
    pruned_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.ledger}, {self.last_number}: {self.last_hash}"


class DryRun(_Chained):
    """One ``migrate_dryrun`` that ended with a report, and the report."""

    made_at = models.DateTimeField()
    database = models.CharField(max_length=255)
    """The alias."""
    database_name = models.CharField(max_length=255)
    server_version = models.CharField(max_length=255)
    mode = models.CharField(max_length=16)
    verdict = models.CharField(max_length=16)
    """``passed``, ``failed``, ``exceeded``, ``yielded`` or ``stopped``."""
    headline = models.TextField()
    migrations = models.TextField(blank=True)
    """The label of each, one a line."""
    duration_ms = models.FloatField()
    os_user = models.CharField(max_length=255)
    host = models.CharField(max_length=255)
    report = models.TextField(blank=True)
    """JSON by the published schema, byte for byte as it was printed; empty if it showed values of
    rows."""
    report_hash = models.CharField(max_length=64)
    plan = models.JSONField(default=dict)
    """``settings`` and ``migrations``: what identifies the plan, by hashes; see
    :mod:`django_confiture.history.plan_fingerprint`. Empty where it is not known."""

    class Meta:
        default_permissions = ("view",)
        ordering = ("-number",)

    def __str__(self) -> str:
        return f"Dry run {self.number} on {self.database}: {self.verdict}"


class Forecast(models.Model):
    """What one dry run forecast for one migration."""

    dry_run = models.ForeignKey(DryRun, on_delete=models.CASCADE, related_name="forecasts")
    made_at = models.DateTimeField()
    database = models.CharField(max_length=255)
    app_label = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    direction = models.CharField(max_length=8)
    estimate = models.JSONField()
    """``low_ms``, ``expected_ms``, ``high_ms``, ``confidence_percent``, ``basis``."""
    statements = models.JSONField()
    """For each text ``sql``, ``kind``, ``low_ms``, ``expected_ms``, ``high_ms``,
    ``confidence_percent``."""

    class Meta:
        default_permissions = ("view",)
        ordering = ("-made_at", "-pk")
        indexes = (
            models.Index(fields=("app_label", "name", "made_at"), name="confiture_forecast_made"),
        )

    def __str__(self) -> str:
        return f"{self.app_label}.{self.name} on {self.database}"


class JournalEntry(models.Model):
    """One step of an operation of a migration that is not atomic, until the migration is applied.

    Written by :mod:`django_confiture.migrate.resuming.journal`, in the database and schema that
    is migrated.
    """

    schema = models.CharField(max_length=255)
    app_label = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    operation = models.PositiveIntegerField()
    step = models.PositiveIntegerField()
    state = models.CharField(max_length=7)
    """``started`` or ``done``."""
    fingerprint = models.CharField(max_length=64)
    """Of the migration's text."""
    indexes = models.JSONField()
    """The indexes that the step names and that were there when it started: name → OID."""
    backend_pid = models.IntegerField(null=True)
    backend_started = models.CharField(max_length=32)
    started_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("schema", "app_label", "name", "operation", "step"),
                name="confiture_journal_step",
            ),
        )

    def __str__(self) -> str:
        return f"{self.app_label}.{self.name}, operation {self.operation}: {self.state}"
