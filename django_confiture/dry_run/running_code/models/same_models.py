"""What of a model decides which statements a release sends about it, to be compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Field, Model

_SAID = frozenset(
    ("db_comment", "editable", "error_messages", "help_text", "limit_choices_to", "verbose_name")
)
"""Arguments of fields that change no statement, nor what values are made up."""

Sent = tuple[object, ...]


def sent_about(model: type[Model]) -> Sent:
    """Return what two models have in common of which a release sends the same."""
    meta = model._meta
    owner: Any = meta.auto_created
    return (
        meta.label,
        meta.db_table,
        owner._meta.label if owner else None,
        [(each.__module__, each.__qualname__) for each in model.__mro__[1:]],
        type(model._base_manager),
        meta.unique_together,
        meta.constraints,
        meta.ordering,
        [list(_chain(each)) for each in meta.local_fields],
        list(_private(model)),
    )


def _chain(field: Any) -> Iterator[Sent]:
    """Yield what a field is, and what those are that it leads to."""
    yield _described(field)
    while field.remote_field is not None:
        field = field.target_field
        yield field.model._meta.db_table, *_described(field)


def _described(field: Field[Any, Any]) -> Sent:
    _name, path, arguments, named = field.deconstruct()
    named = {name: value for name, value in named.items() if name not in _SAID}
    return field.name, field.column, path, arguments, named


def _private(model: type[Model]) -> Iterator[Sent]:
    """Yield the generic foreign keys and relations."""
    names = "ct_field", "fk_field", "content_type_field_name", "object_id_field_name"
    for each in model._meta.private_fields:
        related: Any = getattr(each, "related_model", None)
        label = related._meta.label if related else None
        yield type(each), each.name, label, *(getattr(each, name, None) for name in names)
