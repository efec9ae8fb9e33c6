"""Probes of what names or compares types: a column that has got another one may refuse it.

Each statement of a single row is taken as the server reads it; ``bulk_update()`` and a look-up by
key name the type that the release knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Field, Model, QuerySet

from django_confiture.dry_run.running_code.instances.instances import Variant
from django_confiture.dry_run.running_code.instances.unique_fields import is_key
from django_confiture.dry_run.running_code.instances.values import NoValueError
from django_confiture.dry_run.running_code.models.own_fields import is_of_the_project
from django_confiture.dry_run.running_code.probes.model_probes import ModelProbes
from django_confiture.dry_run.running_code.probes.probe import Probe

_MODEST = Variant("modest", "modest")
_SIZE = re.compile(r"\([^)]*\)")
_NAMES = {
    "char": "character",
    "time": "time without time zone",
    "varchar": "character varying",
}
"""Names of types in Django → as the catalogs have them."""

Fields = Sequence["Field[Any, Any]"]


def retyped(
    model: type[Model], using: str, before: Mapping[str, str], now: Mapping[str, str]
) -> Fields:
    """Return the fields whose columns had the type that the release knows, and have another now."""
    return [
        each
        for each in _plain_fields(model)
        if (had := _bare(before.get(str(each.column)))) == known_type(each, using)
        and _bare(now.get(str(each.column))) not in (None, had)
    ]


def typed_otherwise(model: type[Model], other: type[Model], using: str) -> Fields:
    """Return the fields whose columns have another type for another model of the same table."""
    types = {each.column: known_type(each, using) for each in _plain_fields(other)}
    return [
        each
        for each in _plain_fields(model)
        if types.get(each.column) not in (None, known_type(each, using))
    ]


def known_type(field: Field[Any, Any], using: str) -> str | None:
    """Return the type that a release knows a column to have, without its size."""
    return _bare(field.db_type(connections[using]))


def _plain_fields(model: type[Model]) -> Iterator[Field[Any, Any]]:
    for each in model._meta.local_concrete_fields:
        if not (each.generated or is_of_the_project(each)):
            yield each


def _bare(text: str | None) -> str | None:
    if text is None:
        return None
    element, brackets, _ = _SIZE.sub("", text).partition("[")
    return f"{_NAMES.get(element, element)}{brackets}"


def of_other_types(probes: ModelProbes, fields: Fields) -> Iterator[Probe]:
    """Yield how the release finds a row by its key, and writes several rows in one statement."""
    if probes.model._meta.auto_created or not fields:
        return
    if any(is_key(each) for each in fields):
        yield Probe("select", "by key", partial(_find, probes))
    written = [each.name for each in fields if not is_key(each)]
    if written:
        run = partial(_update_in_bulk, probes, written)
        yield Probe("update", "in bulk", run, is_optional=True)


def comparisons(probes: ModelProbes, fields: Iterable[Field[Any, Any]]) -> Iterator[Probe]:
    """Yield look-ups by one column alone: whether a release has any, no model tells."""
    if probes.model._meta.auto_created:
        return
    for each in fields:
        if not is_key(each):
            run = partial(_compare, probes, each)
            yield Probe("select", f"filter({each.name}=...)", run, is_untold=True)


def _rows(probes: ModelProbes) -> QuerySet[Model]:
    return QuerySet(probes.model, using=probes.using)


def _find(probes: ModelProbes) -> None:
    with suppress(NoValueError):
        list(_rows(probes).filter(pk=_key(probes)))


def _key(probes: ModelProbes) -> Any:
    """Return the key of a row that is there, if it is one to the release, or else a made-up one."""
    for row in probes.captured[:1]:
        with suppress(ValidationError):
            probes.model._meta.pk.to_python(row.pk)
            return row.pk
    return probes.new(_MODEST).pk


def _update_in_bulk(probes: ModelProbes, names: Sequence[str]) -> None:
    """Update a row in the way of several; that it is not there makes no difference to types."""
    with suppress(NoValueError):  # then whole rows were not tried either
        _rows(probes).bulk_update([probes.new(_MODEST)], names)


def _compare(probes: ModelProbes, field: Field[Any, Any]) -> None:
    """Compare a column of at most one row: others would be read to be compared."""
    row = probes.new(_MODEST)
    value = getattr(row, field.attname)
    if value is not None:
        list(_rows(probes).filter(pk=_key(probes), **{field.attname: value}))
