"""Changed rows written in one statement: what ``bulk_update`` does, without a CASE for each row.

The rows travel as one JSON text, the cheapest form that psycopg and PostgreSQL share. A row that
somebody else has changed since it was read is left alone, by PostgreSQL's own version of it,
``xmin``: a later pass does it. So nobody waits for a row while Python works on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
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
    """Write the fields ``names`` of each instance that nobody has changed; return how many."""
    if not rows:
        return 0
    connection, columns = connections[rows.db], _columns(rows.model, names)
    values = [
        [_jsonable(field.get_db_prep_save(getattr(row, field.attname), connection)) for row in rows]
        for field in columns
    ]
    values.append([getattr(row, VERSION) for row in rows])
    keys = [f"c{number}" for number in range(len(values))]
    sent = [dict(zip(keys, each, strict=True)) for each in zip(*values, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_statement(rows.model, columns, connection), [json.dumps(sent)])
        return int(cursor.rowcount)


def _columns(model: type[models.Model], names: Sequence[str]) -> list[Any]:
    return [*key_fields(model), *(model._meta.get_field(name) for name in names)]


def _statement(model: type[models.Model], columns: Sequence[Any], connection: Any) -> str:
    quote, keys = connection.ops.quote_name, len(key_fields(model))
    named = [(quote(field.column), f"v.c{number}") for number, field in enumerate(columns)]
    types = ", ".join(
        f"c{number} {field.rel_db_type(connection)}" for number, field in enumerate(columns)
    )
    sets = ", ".join(f"{column} = {value}" for column, value in named[keys:])
    same = " AND ".join(f"t.{column} = {value}" for column, value in named[:keys])
    version = f"c{len(columns)}"
    return (
        f"UPDATE {quote(model._meta.db_table)} t SET {sets}"
        f" FROM json_to_recordset(%s::json) AS v({types}, {version} xid)"
        f" WHERE {same} AND t.xmin = v.{version}"
    )


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
