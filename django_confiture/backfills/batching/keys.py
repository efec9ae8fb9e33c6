"""Primary keys, single or composite, as JSON and back: what a cursor is kept as."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Any

from django.db import models


def key_fields(model: type[models.Model]) -> Sequence[models.Field[Any, Any]]:
    """Return the fields of the primary key, in its order."""
    fields: Sequence[models.Field[Any, Any]] = model._meta.pk_fields
    return fields


def key_to_json(key: Any) -> list[Any]:
    """Return a key as a list of what JSON knows, exactly: nothing is rounded."""
    values = key if isinstance(key, tuple) else (key,)
    return [_plain_value(value) for value in values]


def key_from_json(model: type[models.Model], stored: Sequence[Any]) -> Any:
    """Return the key that :func:`key_to_json` was given."""
    values = tuple(
        field.to_python(value) for field, value in zip(key_fields(model), stored, strict=True)
    )
    return values[0] if len(values) == 1 else values


def shown_key(stored: Sequence[Any]) -> str:
    """Return a key as people read it."""
    return ", ".join(map(str, stored))


def _plain_value(value: object) -> Any:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        raise TypeError("a binary primary key can't be walked")
    return str(value)
