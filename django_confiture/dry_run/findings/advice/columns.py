"""Columns that a table gets without a rewrite, and without a scan under a lock."""

from __future__ import annotations

from django.db.migrations import AddField, AlterField, RenameField
from django.db.models import NOT_PROVIDED

from django_confiture.dry_run.findings.advice import indexes, migration_code
from django_confiture.dry_run.findings.alteration import Alteration
from django_confiture.dry_run.sql.building import (
    add_constraint,
    alter_table_sql,
    foreign_key_of,
    not_valid,
    set_default,
    without_constraints,
)
from django_confiture.dry_run.sql.enums import ConstrType
from django_confiture.dry_run.sql.nodes import (
    Node,
    column_def,
    constraints_of_column,
    type_name,
    written_name,
)

_NEXT = "The next migration"


def with_check(alter: Alteration, column: Node) -> str:
    """Return the column without its CHECK, and the CHECK in two steps."""
    return _constraint_apart(alter, column, ConstrType.CHECK, "check")


def with_foreign_key(alter: Alteration, column: Node) -> str:
    """Return the column without its foreign key, and the foreign key in two steps."""
    return _constraint_apart(alter, column, ConstrType.FOREIGN, "fkey")


def _constraint_apart(alter: Alteration, column: Node, kind: int, suffix: str) -> str:
    relation = alter.step.node.relation
    table = written_name(relation)
    constraint = _of_table(column, kind)
    name = constraint.conname or f"{relation.relname}_{column.colname}_{suffix}"
    apart = add_constraint(not_valid(constraint, name))
    plain = without_constraints(alter.subcommand, _ATTRIBUTES | {kind})
    built = indexes.concurrently(alter.subject, alter.step)
    steps = [
        migration_code.migration(
            migration_code.in_state(
                alter.step.django,
                migration_code.run_sql(
                    alter_table_sql(relation, plain),
                    f"ALTER TABLE {table} DROP COLUMN {column.colname}",
                ),
                migration_code.without_reverse(alter_table_sql(relation, apart)),
            )
        ),
        migration_code.migration(
            migration_code.without_reverse(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"),
            comment=_NEXT,
        ),
    ]
    if built:
        steps.append(migration_code.migration(*built, atomic=False, comment="And the one after it"))
    return migration_code.migrations(*steps)


_ATTRIBUTES = {
    ConstrType.ATTR_DEFERRABLE,
    ConstrType.ATTR_NOT_DEFERRABLE,
    ConstrType.ATTR_DEFERRED,
    ConstrType.ATTR_IMMEDIATE,
}
"""In a column's definition these follow their constraint as if they were some themselves."""


def _of_table(column: Node, kind: int) -> Node:
    """Return a column's constraint as one of its table."""
    given = constraints_of_column(column)
    if kind != ConstrType.FOREIGN:
        return given[kind]
    return foreign_key_of(
        column.colname,
        given[kind],
        deferrable=ConstrType.ATTR_DEFERRABLE in given,
        deferred=ConstrType.ATTR_DEFERRED in given,
    )


def unique(alter: Alteration, column: Node) -> str:
    """Return the column first, then its index, then the constraint."""
    relation = alter.step.node.relation
    name = column.colname
    operation = alter.step.django
    if not isinstance(operation, AddField):
        plain = migration_code.run_sql(
            alter_table_sql(relation, without_constraints(alter.subcommand, {ConstrType.UNIQUE})),
            f"ALTER TABLE {written_name(relation)} DROP COLUMN {name}",
        )
        return migration_code.migrations(
            migration_code.migration(plain), *_unique_index(alter, name, None)
        )
    field = migration_code.changed(operation.field, _unique=False)
    final = AlterField(operation.model_name, operation.name, operation.field)
    return migration_code.migrations(
        migration_code.migration(
            migration_code.operation(AddField(operation.model_name, operation.name, field))
        ),
        *_unique_index(alter, name, final),
    )


def _unique_index(alter: Alteration, column: str, final: AlterField | None) -> list[str]:
    """Return the migrations that make a column unique without blocking anybody."""
    relation = alter.step.node.relation
    table = written_name(relation)
    key = f"{relation.relname}_{column}_key"
    build = f"CREATE UNIQUE INDEX CONCURRENTLY {key} ON {table} ({column})"
    use = migration_code.run_sql(
        f"ALTER TABLE {table} ADD CONSTRAINT {key} UNIQUE USING INDEX {key}",
        f"ALTER TABLE {table} DROP CONSTRAINT {key}",
    )
    return [
        migration_code.migration(
            migration_code.without_reverse(build), atomic=False, comment=_NEXT
        ),
        migration_code.migration(
            migration_code.in_state(final, use), comment="And the one after it"
        ),
    ]


def volatile_default(alter: Alteration, column: Node) -> str:
    """Return the column first, its default second, its rows last."""
    operation = alter.step.django
    if not isinstance(operation, AddField):
        return _volatile_in_sql(alter, column)
    model, name = operation.model_name, operation.name
    defaulted = migration_code.changed(operation.field, null=True, _unique=False)
    empty = migration_code.changed(defaulted, db_default=NOT_PROVIDED, default=NOT_PROVIDED)
    default = (
        migration_code.value(operation.field.db_default)
        if operation.field.has_db_default()
        else "..."
    )
    steps = [
        migration_code.migration(
            migration_code.operation(AddField(model, name, empty)),
            migration_code.operation(AlterField(model, name, defaulted)),
            comment="New rows get the default, the others stay NULL: nothing is written",
        ),
        migration_code.batches(alter.table, f"filter({name}=None).update({name}={default})"),
        migration_code.fills(alter.table, "The next migration; each batch commits by itself"),
    ]
    if operation.field.unique:
        steps += _unique_index(
            alter, name, AlterField(model, name, migration_code.changed(operation.field, null=True))
        )
    if not operation.field.null:
        steps.append(
            migration_code.comment("Then NOT NULL, proven by a validated CHECK: see not-null-scan.")
        )
    return migration_code.migrations(*steps)


def _volatile_in_sql(alter: Alteration, column: Node) -> str:
    relation = alter.step.node.relation
    table, name = written_name(relation), column.colname
    kinds = {ConstrType.DEFAULT, ConstrType.NOTNULL, ConstrType.UNIQUE}
    default = set_default(name, constraints_of_column(column)[ConstrType.DEFAULT].raw_expr)
    return migration_code.migrations(
        migration_code.migration(
            migration_code.run_sql(
                alter_table_sql(relation, without_constraints(alter.subcommand, kinds)),
                f"ALTER TABLE {table} DROP COLUMN {name}",
            ),
            migration_code.without_reverse(alter_table_sql(relation, default)),
            comment="New rows get the default, the others stay NULL: nothing is written",
        ),
        migration_code.batches(alter.table, f"update({name}=...)"),
        migration_code.fills(alter.table, "The next migration; each batch commits by itself"),
    )


def generated(alter: Alteration, column: Node) -> str:
    """Return what can be had without a rewrite of the table."""
    name = column.colname
    return migration_code.migrations(
        migration_code.comment(
            "PostgreSQL 18 computes it when it is read, which costs nothing now:",
            f"{name} = models.GeneratedField(..., db_persist=False)",
            "Before 18: a nullable column that the code fills, and the old rows in batches:",
        ),
        migration_code.batches(alter.table, f"update({name}=...)"),
        migration_code.fills(alter.table),
    )


def identity(alter: Alteration, column: Node) -> str:
    """Return a sequence, a nullable column with a default, and the old rows in batches."""
    relation = alter.step.node.relation
    table, name = written_name(relation), column.colname
    sequence = f"{relation.relname}_{name}_seq"
    return migration_code.migrations(
        migration_code.migration(
            migration_code.run_sql(f"CREATE SEQUENCE {sequence}", f"DROP SEQUENCE {sequence}"),
            migration_code.run_sql(
                f"ALTER TABLE {table} ADD COLUMN {name} bigint",
                f"ALTER TABLE {table} DROP COLUMN {name}",
            ),
            migration_code.without_reverse(
                f"ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT nextval('{sequence}')"
            ),
            migration_code.without_reverse(f"ALTER SEQUENCE {sequence} OWNED BY {table}.{name}"),
        ),
        migration_code.batches(alter.table, f"filter({name}=None).update({name}=...)"),
        migration_code.fills(alter.table),
    )


def new_type(alter: Alteration) -> str:
    """Return a new column beside the old one: written by both, filled, swapped."""
    operation = alter.step.django
    column, table = alter.subcommand.name, alter.table
    filling = [
        migration_code.batches(table, f'update({column}_new=F("{column}"))'),
        migration_code.fills(table, "The next migration; each batch commits by itself"),
    ]
    if not isinstance(operation, AlterField) or operation.field.primary_key:
        new = type_name(column_def(alter.subcommand))
        add = migration_code.run_sql(
            f"ALTER TABLE {table} ADD COLUMN {column}_new {new}",
            f"ALTER TABLE {table} DROP COLUMN {column}_new",
        )
        swap = [
            migration_code.without_reverse(
                f"ALTER TABLE {table} RENAME COLUMN {column} TO {column}_old"
            ),
            migration_code.without_reverse(
                f"ALTER TABLE {table} RENAME COLUMN {column}_new TO {column}"
            ),
        ]
    else:
        model, name = operation.model_name, operation.name
        wanted = migration_code.changed(operation.field, null=True, _unique=False, db_index=False)
        add = migration_code.operation(AddField(model, f"{name}_new", wanted))
        swap = [
            migration_code.operation(RenameField(model, name, f"{name}_old")),
            migration_code.operation(RenameField(model, f"{name}_new", name)),
        ]
    return migration_code.migrations(
        migration_code.migration(add, comment="The new column; the code then writes both"),
        *filling,
        migration_code.migration(
            *swap, comment="Once both agree; indexes and NOT NULL come before"
        ),
    )
