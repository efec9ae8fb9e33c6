"""How many locks a plan needs at once: a dry run keeps all of them until it ends.

An estimate. What is created is counted: the table, its sequence, its TOAST table, each index. What
is dropped or altered locks constraints, triggers, types and defaults as well, each an entry of its
own: for these there is a usual number for each kind of operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.migrations import operations as ops
from django.db.models import CharField, CheckConstraint, Field, TextField
from django.db.models.fields import AutoFieldMixin

from django_confiture.dry_run.sql.parsing.parser import Kind

if TYPE_CHECKING:
    from django.db.migrations.operations.base import Operation
    from django.db.migrations.state import ModelState

    from django_confiture.dry_run.sql.parsing.parser import Statement

AROUND = 60
"""The catalogs and ``django_migrations``."""

BETWEEN = 6
"""A table for a many-to-many field: itself, its sequence, and four indexes."""

_TOAST = 2
_ADDED = 1
_ALTERED = 4
_FIXED_SIZE = {
    "AutoField", "BigAutoField", "SmallAutoField", "BooleanField", "DateField", "DateTimeField",
    "DecimalField", "DurationField", "FloatField", "ForeignKey", "GenericIPAddressField",
    "IntegerField", "BigIntegerField", "SmallIntegerField", "OneToOneField",
    "PositiveIntegerField", "PositiveBigIntegerField", "PositiveSmallIntegerField", "TimeField",
    "UUIDField", "ManyToManyField", "CompositePrimaryKey",
}  # fmt: skip
_TOASTED_FROM = 2000
"""Bytes of a row from which PostgreSQL makes a TOAST table."""


_OF_SQL = {"create_stmt": 5, "create_table_as_stmt": 3, "index_stmt": 1}


def of_statement(statement: Statement) -> int:
    """Return about how many locks a statement of ``RunSQL`` adds."""
    if statement.kind is not Kind.DDL:
        return 0
    return _OF_SQL.get(statement.what, _ALTERED)


def of_operation(operation: Operation, start: ModelState | None, end: ModelState | None) -> int:
    """Return about how many locks an operation adds to those on what exists already."""
    if start is None:
        return _of_table(end) if end is not None else 0
    if end is None:
        return 2 * _of_table(start)
    if not isinstance(operation, ops.AddField | ops.RemoveField | ops.AlterField):
        return _ALTERED
    name = operation.name
    fields = [m.fields[name] for m in (start, end) if name in m.fields]
    own = _ADDED if isinstance(operation, ops.AddField) else _ALTERED
    return own + max(map(_of_column, fields), default=0)


def _of_table(model: ModelState) -> int:
    fields = list(model.fields.values())
    meta = model.options
    unique = [c for c in meta.get("constraints") or () if not isinstance(c, CheckConstraint)]
    own_key = any(each.primary_key for each in fields)
    return (
        1
        + (0 if own_key else 2)
        + _toast(fields)
        + sum(map(_of_column, fields))
        + len(meta.get("indexes") or ())
        + len(meta.get("unique_together") or ())
        + len(unique)
    )


def _of_column(each: Field[Any, Any]) -> int:
    """Return the indexes and sequences of a column; Django makes two indexes for text."""
    if each.many_to_many:
        return BETWEEN if getattr(each.remote_field, "through", None) is None else 0
    indexed = each.unique or getattr(each, "db_index", False)
    like = indexed and isinstance(each, CharField | TextField)
    return int(indexed) + int(like) + int(isinstance(each, AutoFieldMixin))


def _toast(fields: list[Field[Any, Any]]) -> int:
    longest = 0
    for each in fields:
        if each.get_internal_type() not in _FIXED_SIZE:
            longest += 4 * int(each.max_length or _TOASTED_FROM)  # some write it as a text
    return _TOAST if longest > _TOASTED_FROM else 0
