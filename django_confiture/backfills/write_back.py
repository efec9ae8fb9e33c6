"""Changed rows written in one statement: what ``bulk_update`` does, without a CASE for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import connections, models

from django_confiture.backfills.keys import key_fields


def write_back(rows: models.QuerySet[Any], names: Sequence[str]) -> None:
    """Write the fields ``names`` of every instance of ``rows``."""
    instances = list(rows)
    if not instances:
        return
    model = rows.model
    written = [model._meta.get_field(name) for name in names]
    if any(isinstance(field, ArrayField) for field in written) or _inherited(model, written):
        model._base_manager.using(rows.db).bulk_update(instances, names)  # unnest would flatten it
        return
    sql, columns = _statement(model, written, rows.db)
    connection = connections[rows.db]
    values = [
        [field.get_db_prep_save(getattr(row, field.attname), connection) for row in instances]
        for field in columns
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def _inherited(model: type[models.Model], fields: Sequence[Any]) -> bool:
    return any(
        field.model._meta.concrete_model is not model._meta.concrete_model for field in fields
    )


def _statement(
    model: type[models.Model], written: Sequence[Any], using: str
) -> tuple[str, list[models.Field[Any, Any]]]:
    connection = connections[using]
    quote = connection.ops.quote_name
    keys = list(key_fields(model))
    columns = [*keys, *written]
    arrays = ", ".join(f"%s::{field.rel_db_type(connection)}[]" for field in columns)
    sets = ", ".join(
        f"{quote(str(field.column))} = v.c{number}"
        for number, field in enumerate(written, start=len(keys))
    )
    same = " AND ".join(
        f"t.{quote(str(field.column))} = v.c{number}" for number, field in enumerate(keys)
    )
    names = ", ".join(f"c{number}" for number in range(len(columns)))
    table = quote(model._meta.db_table)
    return f"UPDATE {table} t SET {sets} FROM unnest({arrays}) AS v({names}) WHERE {same}", columns
