"""Splits an operation: the changes of an AlterField, the database side of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.migrations import AlterField, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Field

_LATER = ("null", "default", "unique", "db_index")
"""What is changed after the column's type and the like."""
_LAST = ("unique", "db_index")
_BEFORE_TYPE = ("null", "default", "db_default", "db_comment")
"""What is changed before the type, where that comes last."""
_ALWAYS_THERE = ("null", "db_index")
"""The options that every field has, whether or not they are given."""


def split(
    operation: Operation, before: ProjectState, app_label: str, *, type_last: bool
) -> Sequence[Operation]:
    """Return the operations that do the same one after the other, or only itself.

    ``type_last`` is for types that wait for the next release: nothing can come after them.
    """
    if type(operation) is AlterField:
        return _changes_of_field(operation, before, app_label, type_last=type_last)
    if type(operation) is SeparateDatabaseAndState:
        return list(_of_database(operation)) or [operation]
    return [operation]


def _of_database(operation: SeparateDatabaseAndState) -> Iterator[Operation]:
    """Yield each operation on the database by itself; the models change with the last."""
    for each in operation.database_operations[:-1]:
        yield SeparateDatabaseAndState(database_operations=[each])
    for each in operation.database_operations[-1:]:
        yield SeparateDatabaseAndState([each], operation.state_operations)


def _changes_of_field(
    operation: AlterField, before: ProjectState, app_label: str, *, type_last: bool
) -> list[AlterField]:
    """Return the AlterFields that do the same one after the other, or only itself.

    First the type and what belongs to it, then NULL and the default, then indexes; or the
    type last, with its indexes: the new column alone gets them, as its type wants them.
    """
    model = before.models[app_label, operation.model_name_lower]
    old: Field[Any, Any] = model.fields[operation.name]
    new: Field[Any, Any] = operation.field
    if any(each.remote_field is not None or each.primary_key for each in (old, new)):
        return [operation]
    steps = [_mixed(old, new, _LATER), _mixed(old, new, _LAST), new]
    if type_last:
        steps = [_mixed(new, old, _BEFORE_TYPE), new]
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
    """Return the new field with the old one's options of some names; or the other way round."""
    _name, _path, args, options = new.deconstruct()
    _name, _path, _args, before = old.deconstruct()
    mixed = {key: value for key, value in options.items() if key not in kept}
    mixed |= {key: getattr(old, key) for key in kept if key in _ALWAYS_THERE}
    mixed |= {key: before[key] for key in kept if key in before}
    field: Field[Any, Any] = type(new)(*args, **mixed)
    return field


def _form(field: Field[Any, Any]) -> tuple[Any, ...]:
    return field.deconstruct()[1:]
