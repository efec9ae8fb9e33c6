"""Changed rows written in one statement: what ``bulk_update`` does, without a CASE for each row.

Each column travels as a JSON array, the cheapest form that Python and PostgreSQL share. A row that
another session has changed since it was read is left alone, by PostgreSQL's own version of it,
``xmin``: a later pass does it. So no session waits for a row while Python works on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from django.db import connections, models
from django.db.models.expressions import RawSQL

from django_confiture.backfills.keys import key_fields

VERSION = "confiture_version"

_PLAIN = {
    "AutoField",
    "BigAutoField",
    "BigIntegerField",
    "BooleanField",
    "CharField",
    "DateField",
    "DateTimeField",
    "DecimalField",
    "FilePathField",
    "FloatField",
    "ForeignKey",
    "GenericIPAddressField",
    "IntegerField",
    "OneToOneField",
    "PositiveBigIntegerField",
    "PositiveIntegerField",
    "PositiveSmallIntegerField",
    "SlugField",
    "SmallAutoField",
    "SmallIntegerField",
    "TextField",
    "TimeField",
    "UUIDField",
}
"""Django's own types whose values PostgreSQL reads from JSON as they were."""

_AS_THEY_ARE = (models.CharField, models.TextField, models.IntegerField)
_NATIVE = frozenset({str, int, type(None)})
"""Exact types, of which the fields make nothing else."""


def with_version(rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
    """Return ``rows``, each with the version of it that is read."""
    table = connections[rows.db].ops.quote_name(rows.model._meta.db_table)
    version = RawSQL(f"{table}.xmin::text", [])  # noqa: S611 - a quoted name
    versioned: models.QuerySet[Any] = rows.annotate(**{VERSION: version})
    return versioned


def can_write_back(model: type[models.Model], names: Sequence[str]) -> bool:
    """Return whether JSON can hold these fields, and all lie in the model's own table."""
    own = model._meta.concrete_model
    return all(
        field.get_internal_type() in _PLAIN
        and type(field).__module__.startswith("django.db.")
        and field.model._meta.concrete_model is own
        for field in _columns(model, names)
    )


def write_back(rows: models.QuerySet[Any], names: Sequence[str]) -> int:
    """Write the fields ``names`` of each instance that no one has changed; return how many."""
    if not rows:
        return 0
    connection, columns = connections[rows.db], _columns(rows.model, names)
    values = [_values(rows, field, connection) for field in columns]
    values.append(list(map(attrgetter(VERSION), rows)))
    with connection.cursor() as cursor:
        cursor.execute(_statement(rows.model, columns, connection), list(map(json.dumps, values)))
        return int(cursor.rowcount)


def _values(rows: models.QuerySet[Any], field: Any, connection: Any) -> list[Any]:
    """Return the values of one field as JSON can hold them."""
    values = list(map(attrgetter(field.attname), rows))
    if isinstance(field, _AS_THEY_ARE) and set(map(type, values)) <= _NATIVE:
        return values
    return [_jsonable(field.get_db_prep_save(value, connection)) for value in values]


def _columns(model: type[models.Model], names: Sequence[str]) -> list[Any]:
    return [*key_fields(model), *(model._meta.get_field(name) for name in names)]


def _statement(model: type[models.Model], columns: Sequence[Any], connection: Any) -> str:
    quote, keys = connection.ops.quote_name, len(key_fields(model))
    named = [
        (quote(field.column), f"CAST(v.c{number} AS {field.rel_db_type(connection)})")
        for number, field in enumerate(columns)
    ]
    sets = ", ".join(f"{column} = {value}" for column, value in named[keys:])
    same = " AND ".join(f"t.{column} = {value}" for column, value in named[:keys])
    names = [f"c{number}" for number in range(len(columns) + 1)]
    arrays = ", ".join("json_array_elements_text(%s::json)" for _ in names)
    return (
        f"UPDATE {quote(model._meta.db_table)} t SET {sets}"
        f" FROM ROWS FROM ({arrays}) AS v({', '.join(names)})"
        f" WHERE {same} AND t.xmin = CAST(v.{names[-1]} AS xid)"
    )


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
