"""Constraints in two steps: for new rows at once, for the others without blocking anybody."""

from __future__ import annotations

from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db.migrations import AddConstraint, AlterField, RemoveConstraint
from django.db.models import NOT_PROVIDED, CheckConstraint, Q

from django_confiture.dry_run.findings.advice import migration_code
from django_confiture.dry_run.findings.alteration import Alteration
from django_confiture.dry_run.sql.building import add_constraint, alter_table_sql, not_valid
from django_confiture.dry_run.sql.nodes import Node, definition, written_name

_NEXT = "The next migration"


def check(alter: Alteration, constraint: Node) -> str:
    """Return CHECK in two steps."""
    operation = alter.step.django
    if isinstance(operation, AddConstraint) and isinstance(operation.constraint, CheckConstraint):
        model, added = operation.model_name, operation.constraint
        return migration_code.migrations(
            migration_code.migration(migration_code.operation(AddConstraintNotValid(model, added))),
            migration_code.migration(
                migration_code.operation(ValidateConstraint(model, added.name)), comment=_NEXT
            ),
        )
    return _in_two_steps(alter, constraint, constraint.conname or f"{_bare(alter)}_check")


def foreign_key(alter: Alteration, constraint: Node) -> str:
    """Return a foreign key in two steps."""
    name = constraint.conname or f"{_bare(alter)}_fkey"
    return _in_two_steps(alter, constraint, name)


def fill_later() -> str:
    """Say how a new table gets its rows without holding up the one that it refers to."""
    return migration_code.comment(
        "Create the table in one migration, with its foreign key, and fill it in the next,",
        "in batches: then each row is checked by itself, and no one is blocked.",
    )


def _in_two_steps(alter: Alteration, constraint: Node, name: str) -> str:
    relation = alter.step.node.relation
    table = written_name(relation)
    add = alter_table_sql(relation, add_constraint(not_valid(constraint, name)))
    return migration_code.migrations(
        migration_code.migration(
            migration_code.in_state(
                alter.step.django,
                migration_code.run_sql(add, f"ALTER TABLE {table} DROP CONSTRAINT {name}"),
            )
        ),
        migration_code.migration(_validation(table, name), comment=_NEXT),
    )


def _validation(table: str, name: str) -> str:
    return migration_code.without_reverse(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def validate(alter: Alteration) -> str:
    """Return the validation in a migration of its own."""
    operation = alter.step.django
    if isinstance(operation, ValidateConstraint):
        again = migration_code.operation(operation)
    else:
        again = _validation(written_name(alter.step.node.relation), alter.subcommand.name)
    return migration_code.migration(
        again, comment="In a migration of its own, so that no lock is held"
    )


def unique(alter: Alteration, constraint: Node) -> str:
    """Return a unique constraint from an index that is built without blocking anybody."""
    if alter.step.is_partitioned(alter.step.node.relation):
        return _by_partition()
    table = written_name(alter.step.node.relation)
    name = constraint.conname or f"{_bare(alter)}_key"
    columns = ", ".join(key.string.sval for key in constraint.keys)
    build = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({columns})"
    use = f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}"
    if constraint.deferrable:
        use += " DEFERRABLE" + (" INITIALLY DEFERRED" if constraint.initdeferred else "")
    return migration_code.migrations(
        migration_code.migration(
            migration_code.run_sql(build, f"DROP INDEX CONCURRENTLY IF EXISTS {name}"), atomic=False
        ),
        migration_code.migration(
            migration_code.in_state(
                alter.step.django,
                migration_code.run_sql(use, f"ALTER TABLE {table} DROP CONSTRAINT {name}"),
            ),
            comment=_NEXT,
        ),
    )


def primary_key(alter: Alteration) -> str:
    """Return a primary key from an index that is built without blocking anybody."""
    if alter.step.is_partitioned(alter.step.node.relation):
        return _by_partition()
    table = written_name(alter.step.node.relation)
    constraint = definition(alter.subcommand).constraint
    columns = ", ".join(key.string.sval for key in constraint.keys)
    name = f"{_bare(alter)}_pkey"
    build = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({columns or '...'})"
    use = f"ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY USING INDEX {name}"
    return migration_code.migrations(
        migration_code.comment("The columns have to be NOT NULL before; see not-null-scan."),
        migration_code.migration(migration_code.without_reverse(build), atomic=False),
        migration_code.migration(
            migration_code.in_state(alter.step.django, migration_code.run_sql(use)), comment=_NEXT
        ),
    )


def _by_partition() -> str:
    return migration_code.comment(
        "A partitioned table's index can't be built CONCURRENTLY. Add the constraint with",
        "ALTER TABLE ONLY, which takes no time; for each partition build a unique index",
        "CONCURRENTLY, ADD CONSTRAINT ... USING INDEX, and ALTER INDEX ... ATTACH PARTITION.",
    )


def exclusion(alter: Alteration) -> str:
    """Say that there is no way around it."""
    return migration_code.comment(
        "PostgreSQL can neither add an exclusion constraint NOT VALID nor build its index",
        f"CONCURRENTLY. Create it with a new table that takes the place of {alter.table},",
        "or plan a maintenance window.",
    )


def not_null(alter: Alteration, column: str) -> str:
    """Return NOT NULL that is proven by a CHECK, so that the table need not be read."""
    operation = alter.step.django
    if not isinstance(operation, AlterField):
        return _not_null_in_sql(alter, column)
    model, field = operation.model_name, operation.name
    name = f"{model}_{field}_not_null"[:63]
    constraint = CheckConstraint(condition=Q(**{f"{field}__isnull": False}), name=name)
    proven = migration_code.changed(operation.field, default=NOT_PROVIDED)
    steps = [
        migration_code.migration(
            migration_code.operation(AddConstraintNotValid(model, constraint))
        ),
        migration_code.migration(
            migration_code.operation(ValidateConstraint(model, name)), comment=_NEXT
        ),
        migration_code.migration(
            migration_code.operation(AlterField(model, field, proven)),
            migration_code.operation(RemoveConstraint(model, name)),
            comment="And the one after it: the CHECK proves it, nothing is read",
        ),
    ]
    if operation.field.has_default():
        value = repr(operation.field.get_default())
        filled = migration_code.batches(
            alter.table, f"filter({field}=None).update({field}={value})"
        )
        steps[1:1] = [
            filled,
            migration_code.fills(alter.table, "The next migration; each batch commits by itself"),
        ]
    return migration_code.migrations(*steps)


def _not_null_in_sql(alter: Alteration, column: str) -> str:
    table = written_name(alter.step.node.relation)
    name = f"{_bare(alter)}_{column}_not_null"[:63]
    return migration_code.migrations(
        migration_code.migration(
            migration_code.run_sql(
                f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID",
                f"ALTER TABLE {table} DROP CONSTRAINT {name}",
            )
        ),
        migration_code.migration(_validation(table, name), comment=_NEXT),
        migration_code.migration(
            migration_code.without_reverse(
                f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL"
            ),
            migration_code.without_reverse(f"ALTER TABLE {table} DROP CONSTRAINT {name}"),
            comment="And the one after it: the CHECK proves it, nothing is read",
        ),
    )


def _bare(alter: Alteration) -> str:
    return str(alter.step.node.relation.relname)
