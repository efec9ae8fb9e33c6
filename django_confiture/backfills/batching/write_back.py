"""Changed rows written in one statement: what ``bulk_update`` does, without a CASE for each row.

Each column travels as one array, written as text: the cheapest form that Python and PostgreSQL
share. The bounds of the keys let the server read a part of the index instead of one row after
another. A row that another session has changed since it was read is left alone, by PostgreSQL's
own version of it, ``xmin``: a later pass does it. So no session waits for a row while Python works
on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any

from django.db import connections, models
from django.db.models.expressions import RawSQL
from psycopg.types.json import Jsonb

from django_confiture.backfills.batching.keys import key_fields

VERSION = "confiture_version"
_NUL = "\0"

_PLAIN = {
    "AutoField",
    "BigAutoField",
    "BigIntegerField",
    "BooleanField",
    "CharField",
    "DateField",
    "DateTimeField",
    "DecimalField",
    "DurationField",
    "FilePathField",
    "FloatField",
    "ForeignKey",
    "GenericIPAddressField",
    "IntegerField",
    "JSONField",
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
"""Django's own types whose values PostgreSQL reads from text as they were."""

_AS_THEY_ARE = (models.CharField, models.TextField, models.IntegerField)
_NATIVE = frozenset({str, int, type(None)})
"""Exact types, of which the fields make nothing else."""


def with_version(rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
    """Return ``rows``, each with the version of it that is read."""
    table = connections[rows.db].ops.quote_name(rows.model._meta.db_table)
    version = RawSQL(f"{table}.xmin", [])  # noqa: S611 - a quoted name
    versioned: models.QuerySet[Any] = rows.annotate(**{VERSION: version})
    return versioned


def can_be_text(model: type[models.Model], names: Sequence[str]) -> bool:
    """Return whether text can hold these fields and the keys of their tables."""
    return all(
        field.get_internal_type() in _PLAIN and type(field).__module__.startswith("django.db.")
        for table, of_table in _fields_by_table(model, names).items()
        for field in _model_columns(table, of_table)
    )


def lie_in_own_table(model: type[models.Model], names: Sequence[str]) -> bool:
    """Return whether all lie in the model's own table, and none in that of a parent."""
    return {*_fields_by_table(model, names)} <= {model._meta.concrete_model}


def links_to_parents(model: type[models.Model]) -> list[str]:
    """Return the names that lead from a model to the tables of its parents, near and far."""
    return [
        name
        for parent, link in model._meta.parents.items()
        if link is not None
        for name in (link.name, *(f"{link.name}__{far}" for far in links_to_parents(parent)))
    ]


def _fields_by_table(
    model: type[models.Model], names: Sequence[str]
) -> dict[type[models.Model], list[str]]:
    found: dict[Any, list[str]] = {}
    for name in names:
        found.setdefault(model._meta.get_field(name).model._meta.concrete_model, []).append(name)
    return found


def keys_of(rows: models.QuerySet[Any]) -> list[Any]:
    """Return the primary keys of instances."""
    return list(map(attrgetter(*(field.attname for field in key_fields(rows.model))), rows))


def write_back(rows: models.QuerySet[Any], names: Sequence[str]) -> int:
    """Write the fields ``names`` of each instance that no one has changed; return how many."""
    return _write(rows, rows.model, names) if rows else 0


def write_locked(rows: models.QuerySet[Any], names: Sequence[str]) -> None:
    """Write the fields ``names`` of instances whose rows are locked, table by table."""
    for table, of_table in _fields_by_table(rows.model, names).items() if rows else ():
        _write(rows, table, of_table, is_locked=True)


def _write(
    rows: models.QuerySet[Any],
    table: type[models.Model],
    names: Sequence[str],
    *,
    is_locked: bool = False,
) -> int:
    connection, columns = connections[rows.db], _model_columns(table, names)
    found = [list(map(attrgetter(field.attname), rows)) for field in columns]
    kinds = [set(map(type, values)) for values in found]
    if any(hasattr(kind, "resolve_expression") for each in kinds for kind in each):
        return _write_expressions(rows, names, is_locked=is_locked)
    values = [
        each if _is_native(field, kind) else _prepared(field, each, connection)
        for field, each, kind in zip(columns, found, kinds, strict=True)
    ]
    keys = values[: len(key_fields(table))]
    if not is_locked:
        values.append(list(map(attrgetter(VERSION), rows)))
    bounds = [of_key[end] for end in (0, -1) for of_key in keys]  # the rows are in order
    with connection.cursor() as cursor:
        statement = _update_statement(table, columns, connection, is_locked=is_locked)
        cursor.execute(statement, [*map(_array, values), *map(str, bounds)])
        return int(cursor.rowcount)


def _write_expressions(rows: models.QuerySet[Any], names: Sequence[str], *, is_locked: bool) -> int:
    """Let Django write instances with expressions in their fields; they are locked first."""
    if is_locked:
        return int(rows.model._base_manager.using(rows.db).bulk_update(rows, names))
    instances = {instance.pk: instance for instance in rows}
    now = rows.all().select_for_update(of=("self",), no_key=True).values_list("pk", VERSION)
    same = [instances[key] for key, version in now if _version_of(instances, key) == version]
    rows.model._base_manager.using(rows.db).bulk_update(same, names)
    return len(same)


def _version_of(instances: Mapping[Any, Any], key: Any) -> Any:
    return getattr(instances.get(key), VERSION, None)


def _is_native(field: Any, kinds: set[type]) -> bool:
    return isinstance(field, _AS_THEY_ARE) and kinds <= _NATIVE


def _prepared(field: Any, values: Sequence[Any], connection: Any) -> list[Any]:
    """Return the values of one field as strings, numbers and None."""
    return [_json_value(field.get_db_prep_save(value, connection)) for value in values]


def _model_columns(model: type[models.Model], names: Sequence[str]) -> list[Any]:
    return [*key_fields(model), *(model._meta.get_field(name) for name in names)]


def _update_statement(
    model: type[models.Model], columns: Sequence[Any], connection: Any, *, is_locked: bool
) -> str:
    quote, keys = connection.ops.quote_name, len(key_fields(model))
    names, types = [quote(field.column) for field in columns], _types(columns, connection)
    sets = ", ".join(f"{name} = v.c{index}" for index, name in enumerate(names) if index >= keys)
    same = " AND ".join(f"t.{name} = v.c{index}" for index, name in enumerate(names[:keys]))
    sent = types if is_locked else [*types, "xid"]
    arrays = ", ".join(f"unnest(CAST(%s AS {each}[]))" for each in sent)
    columns_of_v = ", ".join(f"c{index}" for index in range(len(sent)))
    unchanged = "" if is_locked else f" AND t.xmin = v.c{len(names)}"
    key = ", ".join(f"t.{name}" for name in names[:keys])
    bound = ", ".join(f"CAST(%s AS {each})" for each in types[:keys])
    return (
        f"UPDATE {quote(model._meta.db_table)} t SET {sets}"
        f" FROM ROWS FROM ({arrays}) AS v({columns_of_v})"
        f" WHERE {same}{unchanged} AND ({key}) BETWEEN ({bound}) AND ({bound})"
    )


def _types(columns: Sequence[Any], connection: Any) -> list[str]:
    """Return the types of columns without a length, as a cast would cut what is longer."""
    return [re.sub(r"\(.*?\)", "", field.rel_db_type(connection)) for field in columns]


def _array(values: list[Any]) -> str:
    """Return values as PostgreSQL writes an array."""
    types = set(map(type, values))
    if types <= {int}:
        return "{" + ",".join(map(str, values)) + "}"
    if types == {str}:
        return '{"' + '","'.join(_escaped(values)) + '"}'
    quoted = ("NULL" if value is None else f'"{_escaped([str(value)])[0]}"' for value in values)
    return "{" + ",".join(quoted) + "}"


def _escaped(texts: list[str]) -> list[str]:
    """Return texts as they stand between the quotes of an array."""
    together = _NUL.join(texts)
    if together.count(_NUL) >= len(texts):
        raise ValueError("PostgreSQL text can't hold NUL (0x00) characters")
    if '"' not in together and "\\" not in together:
        return texts
    return together.replace("\\", "\\\\").replace('"', '\\"').split(_NUL)


def _json_value(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, timedelta):  # each part with its sign: the server's style of them varies
        return f"{value.days:+} days {value.seconds:+}.{value.microseconds:06} seconds"
    if isinstance(value, Jsonb):
        return (value.dumps or json.dumps)(value.obj)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
