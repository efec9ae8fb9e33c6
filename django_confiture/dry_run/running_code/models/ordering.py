"""What a model's ``Meta.ordering`` reads: a SELECT of its rows joins those tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import F, Model
from django.db.models.sql import Query


def tables_of_order(model: type[Model]) -> tuple[str, ...]:
    """Return the tables that the rows of a model are ordered by, other than its own."""
    try:
        return tuple(dict.fromkeys(_joined(model, {model})))
    except FieldError:
        return ()


def can_be_ordered(model: type[Model]) -> bool:
    """Return whether the model has every field that its ordering names.

    ``RenameField`` leaves the ordering in the migrations' state as it is.
    """
    try:
        list(_joined(model, {model}))
    except FieldError:
        return False
    return True


def _joined(model: type[Model], seen: set[type[Model]]) -> Iterator[str]:
    for name in _names_in_ordering(model):
        pieces = name.split("__")
        path, field, _targets, _rest = Query(model).names_to_path(pieces, model._meta)
        yield from (each.to_opts.db_table for each in path)
        related: Any = getattr(field, "related_model", None)
        if related is not None and related not in seen and pieces[-1] not in (field.attname, "pk"):
            yield from _joined(related, {*seen, related})


def _names_in_ordering(model: type[Model]) -> Iterator[str]:
    """Yield the fields of the ordering, that of a random order left out."""
    for each in model._meta.ordering or ():
        if isinstance(each, str):
            yield from (each.lstrip("-+") for _ in range(each != "?"))
        else:
            yield from (str(vars(part)["name"]) for part in _parts(each) if isinstance(part, F))


def _parts(expression: Any) -> Iterator[Any]:
    yield expression
    for each in getattr(expression, "get_source_expressions", list)():
        yield from _parts(each)
