"""Columns that a table gets without being written anew, or read under a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.migrations import AddField, AlterField
from django.db.models import NOT_PROVIDED
from postgast import pg_query_pb2 as pg

from django_confiture.dry_run.findings import code, syntax

if TYPE_CHECKING:
    from django_confiture.dry_run.findings.alter import Alter

_NEXT = "The next migration"


def with_check(alter: Alter, column: Any) -> str:
    """Return the column without its CHECK, and the CHECK in two steps."""
    return _constraint_apart(alter, column, pg.CONSTR_CHECK, "check")


def with_foreign_key(alter: Alter, column: Any) -> str:
    """Return the column without its foreign key, and the foreign key in two steps."""
    return _constraint_apart(alter, column, pg.CONSTR_FOREIGN, "fkey")


def _constraint_apart(alter: Alter, column: Any, kind: int, suffix: str) -> str:
    relation = alter.step.node.relation
    table = syntax.written(relation)
    constraint = pg.Constraint()
    constraint.CopyFrom(syntax.constraints(column)[kind])
    name = constraint.conname or f"{relation.relname}_{column.colname}_{suffix}"
    if kind == pg.CONSTR_FOREIGN:
        constraint.fk_attrs.add().string.sval = column.colname
    apart = syntax.add_constraint(syntax.not_valid(constraint, name))
    return code.migrations(
        code.migration(
            code.in_state(
                alter.step.django,
                code.run_sql(
                    syntax.alter(relation, _without(alter.clause, {kind})),
                    f"ALTER TABLE {table} DROP COLUMN {column.colname}",
                ),
                code.without_reverse(syntax.alter(relation, apart)),
            )
        ),
        code.migration(
            code.without_reverse(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"), comment=_NEXT
        ),
    )


def _without(clause: Any, kinds: set[int]) -> Any:
    """Return ADD COLUMN without the constraints of some kinds."""
    copied = pg.AlterTableCmd()
    copied.CopyFrom(clause)
    column = getattr(copied, "def").column_def
    kept = [each for each in column.constraints if each.constraint.contype not in kinds]
    del column.constraints[:]
    column.constraints.extend(kept)
    return copied


def unique(alter: Alter, column: Any) -> str:
    """Return the column first, then its index, then the constraint."""
    relation = alter.step.node.relation
    table, name = syntax.written(relation), column.colname
    key = f"{relation.relname}_{name}_key"
    operation = alter.step.django
    steps: list[str] = []
    use = code.run_sql(
        f"ALTER TABLE {table} ADD CONSTRAINT {key} UNIQUE USING INDEX {key}",
        f"ALTER TABLE {table} DROP CONSTRAINT {key}",
    )
    if isinstance(operation, AddField):
        plain = operation.field.clone()
        plain._unique = False
        plain.null = True
        plain.db_default = NOT_PROVIDED
        steps.append(
            code.migration(
                code.operation(AddField(operation.model_name, operation.name, plain)),
                comment="Then fill it in batches, in a migration with atomic = False",
            )
        )
        final = AlterField(operation.model_name, operation.name, operation.field)
        use = code.in_state(final, use)
    else:
        steps.append(
            code.migration(
                code.run_sql(
                    syntax.alter(relation, _without(alter.clause, {pg.CONSTR_UNIQUE})),
                    f"ALTER TABLE {table} DROP COLUMN {name}",
                )
            )
        )
    build = f"CREATE UNIQUE INDEX CONCURRENTLY {key} ON {table} ({name})"
    steps.append(code.migration(code.without_reverse(build), atomic=False, comment=_NEXT))
    steps.append(code.migration(use, comment="And the one after it"))
    return code.migrations(*steps)


def volatile_default(alter: Alter, column: Any) -> str:
    """Return the column first, its default second, its rows last."""
    operation = alter.step.django
    if not isinstance(operation, AddField):
        return _volatile_in_sql(alter, column)
    model, name = operation.model_name, operation.name
    empty = operation.field.clone()
    empty.db_default = NOT_PROVIDED
    empty.default = NOT_PROVIDED
    empty.null = True
    empty._unique = False
    defaulted = operation.field.clone()
    defaulted.null = True
    defaulted._unique = False
    fill = code.batches(alter.table, f"filter({name}=None).update({name}=...)")
    return code.migrations(
        code.migration(
            code.operation(AddField(model, name, empty)),
            code.operation(AlterField(model, name, defaulted)),
            comment="New rows get the default, the others stay NULL: nothing is written",
        ),
        fill,
        code.fills("The next migration; each batch commits by itself"),
        code.comment(
            "Then NOT NULL by a validated CHECK (not-null-scan), and UNIQUE from an index",
            "built CONCURRENTLY (unique-constraint-builds-index).",
        ),
    )


def _volatile_in_sql(alter: Alter, column: Any) -> str:
    relation = alter.step.node.relation
    table, name = syntax.written(relation), column.colname
    kinds = {pg.CONSTR_DEFAULT, pg.CONSTR_NOTNULL, pg.CONSTR_UNIQUE}
    default = pg.AlterTableCmd(subtype=pg.AT_ColumnDefault, name=name, behavior=pg.DROP_RESTRICT)
    expression = syntax.constraints(column)[pg.CONSTR_DEFAULT].raw_expr
    getattr(default, "def").CopyFrom(expression)
    return code.migrations(
        code.migration(
            code.run_sql(
                syntax.alter(relation, _without(alter.clause, kinds)),
                f"ALTER TABLE {table} DROP COLUMN {name}",
            ),
            code.without_reverse(syntax.alter(relation, default)),
            comment="New rows get the default, the others stay NULL: nothing is written",
        ),
        code.batches(alter.table, f"update({name}=...)"),
        code.fills("The next migration; each batch commits by itself"),
    )


def generated(alter: Alter, column: Any) -> str:
    """Return what can be had without writing the table anew."""
    name = column.colname
    return code.migrations(
        code.comment(
            "PostgreSQL 18 computes it when it is read, which costs nothing now:",
            f"{name} = models.GeneratedField(..., db_persist=False)",
            "Before 18: a nullable column that the code fills, and the old rows in batches:",
        ),
        code.batches(alter.table, f"update({name}=...)"),
        code.fills(),
    )


def identity(alter: Alter, column: Any) -> str:
    """Return a sequence, a nullable column with a default, and the old rows in batches."""
    relation = alter.step.node.relation
    table, name = syntax.written(relation), column.colname
    sequence = f"{relation.relname}_{name}_seq"
    return code.migrations(
        code.migration(
            code.run_sql(f"CREATE SEQUENCE {sequence}", f"DROP SEQUENCE {sequence}"),
            code.run_sql(
                f"ALTER TABLE {table} ADD COLUMN {name} bigint",
                f"ALTER TABLE {table} DROP COLUMN {name}",
            ),
            code.without_reverse(
                f"ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT nextval('{sequence}')"
            ),
            code.without_reverse(f"ALTER SEQUENCE {sequence} OWNED BY {table}.{name}"),
        ),
        code.batches(alter.table, f"filter({name}=None).update({name}=...)"),
        code.fills(),
    )


def new_type(alter: Alter) -> str:
    """Return a new column beside the old one: written by both, filled, swapped."""
    operation = alter.step.django
    column = alter.clause.name
    table = alter.table
    swap = (
        f"ALTER TABLE {table} RENAME COLUMN {column} TO {column}_old",
        f"ALTER TABLE {table} RENAME COLUMN {column}_new TO {column}",
    )
    if not isinstance(operation, AlterField):
        new = syntax.definition(alter.clause, "column_def")
        add = code.run_sql(
            f"ALTER TABLE {table} ADD COLUMN {column}_new {syntax.type_name(new)}",
            f"ALTER TABLE {table} DROP COLUMN {column}_new",
        )
    else:
        wanted = operation.field.clone()
        wanted.null = True
        add = code.operation(AddField(operation.model_name, f"{operation.name}_new", wanted))
    return code.migrations(
        code.migration(add, comment="The new column; the code then writes both"),
        "from django.db.models import F\n\n\n"
        + code.batches(table, f'update({column}_new=F("{column}"))'),
        code.fills("The next migration; each batch commits by itself"),
        code.migration(
            code.statements(swap), comment="Once both agree: swap them, and drop the old one later"
        ),
    )
