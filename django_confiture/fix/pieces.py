"""Takes the changes of one AlterField apart, where they go on top of one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations import AlterField
from django.db.migrations.state import ProjectState
from django.db.models import Field

_LATER = ("null", "default", "unique", "db_index")
"""What is changed after the column's type and the like."""
_LAST = ("unique", "db_index")


def pieces(operation: AlterField, before: ProjectState, app_label: str) -> list[AlterField]:
    """Return the AlterFields that do the same one after the other, or only itself.

    First what concerns the type and the like, then NULL and the default, then indexes.
    """
    model = before.models[app_label, operation.model_name_lower]
    old: Field[Any, Any] = model.fields[operation.name]
    new: Field[Any, Any] = operation.field
    if any(each.remote_field is not None or each.primary_key for each in (old, new)):
        return [operation]
    steps = [_mixed(old, new, _LATER), _mixed(old, new, _LAST), new]
    changes = list(_changes(old, steps))
    return [
        AlterField(operation.model_name, operation.name, field, operation.preserve_default)
        for field in changes
    ] or [operation]


def _changes(old: Field[Any, Any], steps: list[Field[Any, Any]]) -> Iterator[Field[Any, Any]]:
    for each in steps:
        if _form(each) != _form(old):
            yield each
            old = each


def _mixed(old: Field[Any, Any], new: Field[Any, Any], kept: tuple[str, ...]) -> Field[Any, Any]:
    """Return the new field with the old one's options of some names."""
    _name, _path, args, options = new.deconstruct()
    _name, _path, _args, before = old.deconstruct()
    mixed = {key: value for key, value in options.items() if key not in kept}
    mixed |= {key: getattr(old, key) for key in kept if key not in ("default", "unique")}
    if "unique" in kept:
        mixed["unique"] = before.get("unique", False)
    if "default" in kept and "default" in before:
        mixed["default"] = before["default"]
    field: Field[Any, Any] = type(new)(*args, **mixed)
    return field


def _form(field: Field[Any, Any]) -> tuple[Any, ...]:
    return field.deconstruct()[1:]
