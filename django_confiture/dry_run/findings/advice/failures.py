"""Migrations that fail."""

from __future__ import annotations

from django.db.migrations import AddField
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.findings.advice import migration_code
from django_confiture.dry_run.findings.subject import Step
from django_confiture.dry_run.sql.nodes import Node, type_name, written_name


def default(step: Step, column: Node) -> str:
    """Return how to add a column that rows already need a value for."""
    operation = step.django
    if isinstance(operation, AddField):
        label = f"{operation.field.__class__.__name__}(..., db_default=...)"
        return migration_code.comment(
            f'migrations.AddField("{operation.model_name}", "{operation.name}", models.{label})',
            "A constant default costs nothing, whatever the table's size.",
        )
    table = written_name(step.node.relation)
    name, kind = column.colname, type_name(column)
    return migration_code.migration(
        migration_code.run_sql(
            f"ALTER TABLE {table} ADD COLUMN {name} {kind} DEFAULT ... NOT NULL",
            f"ALTER TABLE {table} DROP COLUMN {name}",
        )
    )


def atomic(operation: Operation) -> str:
    """Return the migration that is no transaction."""
    return migration_code.migration(migration_code.operation(operation), atomic=False)


def enum(step: Step) -> str:
    """Return how to add a label before it is used."""
    return migration_code.migrations(
        migration_code.migration(
            migration_code.without_reverse(step.result.sql),
            atomic=False,
            comment="A migration that only adds the value",
        ),
        migration_code.comment("What uses the value comes in the next migration."),
    )
