"""Changes that running code notices: in two releases in place of one."""

from __future__ import annotations

from django.db.migrations import (
    AddField,
    AlterModelTable,
    RemoveField,
    RenameField,
    RenameModel,
)
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED

from django_confiture.dry_run.findings.advice import migration_code
from django_confiture.dry_run.findings.subject import Step


def drop_column(step: Step, table: str, column: str) -> str:
    """Return how to drop a column that no running code selects."""
    operation = step.django
    if not isinstance(operation, RemoveField):
        return migration_code.comment(
            "Drop it in the release after the one whose code no longer names it."
        )
    optional = f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL"
    return migration_code.migrations(
        migration_code.migration(
            migration_code.in_state(operation, migration_code.without_reverse(optional)),
            comment="This release: the code forgets it, and inserts may leave it out",
        ),
        migration_code.migration(
            migration_code.run_sql(f"ALTER TABLE {table} DROP COLUMN {column}"),
            comment="The next release: no code uses it any longer",
        ),
    )


def rename_column(step: Step, column: str, new: str) -> str:
    """Return how to rename a field without renaming its column."""
    operation = step.django
    if not isinstance(operation, RenameField):
        return migration_code.comment(
            f"Keep the column {column}, or add {new}, write both, fill it in batches, and",
            f"drop {column} in the next release.",
        )
    keeping = f'# and in the model: {operation.new_name} = ...Field(..., db_column="{column}")'
    return migration_code.migrations(
        migration_code.comment("Rename it for the models alone; the column keeps its name."),
        migration_code.migration(migration_code.in_state(operation)) + "\n" + keeping,
    )


def drop_table(step: Step) -> str:
    """Return how to drop a table that no running code reads."""
    operation = step.django
    if operation is None or not migration_code.changes_models(operation):
        return migration_code.comment(
            "Drop it in the release after the one whose code no longer names it."
        )
    return migration_code.migrations(
        migration_code.migration(
            migration_code.in_state(operation), comment="This release: the code forgets it"
        ),
        migration_code.migration(
            migration_code.run_sql(step.result.sql),
            comment="The next release: no code uses it any longer",
        ),
    )


def rename_table(step: Step, table: str, new: str) -> str:
    """Return how to rename a model without renaming its table."""
    operation = step.django
    if isinstance(operation, RenameModel | AlterModelTable):
        return migration_code.comment(
            f'Keep the table\'s name: class Meta: db_table = "{table}". Then the models change',
            "and the database does not.",
        )
    return migration_code.comment(
        "Leave a view under the old name until no running code uses it:",
        f"CREATE VIEW {table} AS SELECT * FROM {new}",
    )


def default_in_database(operation: Operation | None, table: str) -> str:
    """Return how to add a column that running code leaves out."""
    if isinstance(operation, AddField) and operation.field.has_default():
        default = operation.field.default
        if not callable(default):
            kept = default if operation.preserve_default else NOT_PROVIDED
            field = migration_code.changed(operation.field, default=kept, db_default=default)
            adding = AddField(operation.model_name, operation.name, field)
            return migration_code.migration(
                migration_code.operation(adding),
                comment="The database fills in what the running release leaves out; in the model "
                "as well",
            )
    return migration_code.migrations(
        migration_code.comment(
            f"This release: the column of {table} may be NULL, or has a db_default; new code",
            "writes it. Fill the old rows in batches.",
            "The next release: make it NOT NULL, once no code runs that leaves it out.",
        )
    )


def narrower_type() -> str:
    """Return how to make a column hold less."""
    return migration_code.comment(
        "This release: code that writes no value which is too large for the new type.",
        "The next release: this migration, once no code runs that can.",
    )


def stricter_rule() -> str:
    """Return how to add a rule that running code does not keep."""
    return migration_code.comment(
        "This release: code that keeps to the new rule, and mends the rows that don't.",
        "The next release: this migration, once no code runs that can break it.",
    )


def two_releases() -> str:
    """Return how to change what running code still uses."""
    return migration_code.comment(
        "This release: code that works on the schema before and after this migration.",
        "The next release: this migration, once no other code runs.",
    )


def schema() -> str:
    """Return how to move to another schema."""
    return migration_code.comment(
        "Have both schemas in the search_path until all code uses the new one."
    )


def enum_value(step: Step) -> str:
    """Return how to replace a label."""
    name = ".".join(part.string.sval for part in step.node.type_name)
    return migration_code.migrations(
        migration_code.migration(
            migration_code.without_reverse(f"ALTER TYPE {name} ADD VALUE '{step.node.new_val}'"),
            atomic=False,
            comment="Add the new value; have the code accept both; then change the rows in batches",
        ),
    )


def referenced() -> str:
    """Return how to drop a foreign key on its own."""
    return migration_code.comment(
        "Drop the foreign key in a migration of its own first, so that nothing else runs",
        "under that lock, and give it a lock_timeout:",
        'CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "2s", "LOCK_RETRIES": 10}}',
    )


def json(step: Step) -> str:
    """Return the better type."""
    del step
    return migration_code.comment("Use jsonb, which models.JSONField() makes.")


def foreign_key_index(table: str, columns: str) -> str:
    """Return the index for a foreign key."""
    name = f"{table}_{columns.replace(', ', '_')}_idx"[:63]
    return migration_code.migration(
        migration_code.run_sql(
            f"CREATE INDEX CONCURRENTLY {name} ON {table} ({columns})",
            f"DROP INDEX CONCURRENTLY IF EXISTS {name}",
        ),
        atomic=False,
        comment="The next migration",
    )
