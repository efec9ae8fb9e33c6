"""Rows in batches, and one kind of work a migration."""

from __future__ import annotations

from django_confiture.dry_run.findings.advice import migration_code
from django_confiture.dry_run.findings.subject import Step, Subject


def backfill(table: str, step: Step) -> str:
    """Return the same writes in batches that commit one by one."""
    change = "delete()" if step.statement.what == "delete_stmt" else "update(...)"
    if step.statement.what == "insert_stmt":
        return migration_code.comment(
            "Insert in batches, each in a transaction of its own: atomic = False in the",
            "migration, and a loop with transaction.atomic() around each batch.",
        )
    return migration_code.migrations(
        migration_code.batches(table, change), migration_code.fills(table)
    )


def split(subject: Subject, work: int | None, lock: int | None, table: str, *, writes: bool) -> str:
    """Return the migration split, so that the work comes after the lock is released."""
    if work is None or work == lock:
        what = "write the rows in batches" if writes else "do the work"
        return migration_code.comment(
            f"First change {table} and commit; then {what} in a later migration;",
            "a hook that does it is better in a migration of its own, too.",
        )
    operations = subject.migration.operations
    before = [migration_code.comment(f"{each.describe()}") for each in operations[:work]]
    return migration_code.migrations(
        migration_code.migration(*before, comment="This one locks, and commits at once"),
        migration_code.migration(
            migration_code.operation(operations[work]),
            atomic=not writes,
            comment="The next one works, and locks nothing",
        ),
    )
