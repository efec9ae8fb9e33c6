"""The order of operations in which renames and new types come as late as the others allow.

And which changes of a field are one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterIndexTogether,
    AlterModelOptions,
    AlterModelTable,
    AlterModelTableComment,
    AlterUniqueTogether,
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
    RenameField,
    RenameIndex,
    RenameModel,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation

_OF_MODELS = (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterIndexTogether,
    AlterModelOptions,
    AlterModelTableComment,
    AlterUniqueTogether,
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
    RenameIndex,
)
"""Operations that depend on no rows, and say by name what they change."""
_OF_INDEXES = (
    AddConstraint,
    AddIndex,
    AlterIndexTogether,
    AlterUniqueTogether,
    RemoveConstraint,
    RemoveIndex,
    RenameIndex,
)
"""Those that do the same whatever type a column has."""


def reordered(
    operations: Sequence[Operation],
    *,
    renaming: Collection[int],
    retyping: Collection[int] = (),
) -> dict[int, Operation]:
    """Return index → operation, in an order with those given behind what can go before them.

    An operation goes before one that renames where it has none of its names, but for the model
    that it changes: then it gets the old one. It goes before one that changes a type where it
    makes or drops indexes and constraints. All others keep their order.
    """
    order: list[tuple[int, Operation]] = []
    for index, operation in enumerate(operations):
        moved = operation
        place = len(order)
        while place and index not in renaming and index not in retyping:
            before, passed = order[place - 1]
            if before in retyping and type(moved) in _OF_INDEXES:
                earlier: Operation | None = moved
            else:
                earlier = _before_rename(moved, passed) if before in renaming else None
            if earlier is None:
                break
            moved, place = earlier, place - 1
        order.insert(place, (index, moved))
    return dict(order)


def altered_again(operations: Sequence[Operation], retyping: Collection[int]) -> dict[int, int]:
    """Return which AlterFields the last one of the same field makes unnecessary: index → its index.

    It does the same alone where nothing reads or writes rows in between. The first is one of those
    given.
    """
    found: dict[int, int] = {}
    for first in sorted(retyping):
        again = [first]
        for index, operation in enumerate(operations[first + 1 :], first + 1):
            if type(operation) not in _OF_MODELS:
                break
            if _field_of(operation) == _field_of(operations[first]):
                if type(operation) is not AlterField:
                    break
                again.append(index)
        found |= dict.fromkeys(again[:-1], again[-1])
    return found


def _field_of(operation: Operation) -> tuple[str, str] | None:
    """Return the model and the field that an operation is about."""
    if not isinstance(operation, FieldOperation):
        return None
    return operation.model_name_lower, operation.name_lower


def _before_rename(operation: Operation, rename: Operation) -> Operation | None:
    """Return the operation as it goes before a rename; None where it can't."""
    if type(operation) not in _OF_MODELS:
        return None
    if not isinstance(rename, RenameModel):
        return operation if _names_in(operation).isdisjoint(_names_of(rename)) else None
    _name, _args, options = operation.deconstruct()  # all of these give their arguments by name
    key = "model_name" if "model_name" in options else "name"
    if options[key].lower() == rename.new_name_lower:
        operation = type(operation)(**{**options, key: rename.old_name})
    return None if rename.new_name_lower in _names_in(operation) else operation


def _names_of(operation: Operation) -> set[str]:
    """Return the words by which others know a field or a table that is renamed."""
    if isinstance(operation, AlterModelTable):
        return set()
    if isinstance(operation, RenameField):
        names = [operation.old_name_lower, operation.new_name_lower]
    else:
        assert isinstance(operation, AlterField)
        names = [operation.name_lower]
    return {word for name in names for word in (*_words(name), *_words(f"{name}_id"))}


def _names_in(operation: Operation) -> set[str]:
    """Return every word of an operation's texts."""
    return {word for text in _texts(operation) for word in _words(text)}


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in what an operation or a part of it is made with."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from _texts(each)
    elif hasattr(value, "deconstruct"):
        *_path, args, options = value.deconstruct()
        yield from _texts([args, options])


def _words(text: str) -> Iterator[str]:
    """Yield the words of a text in lower case, and the parts of each lookup."""
    for word in re.findall(r"\w+", text.lower()):
        yield word
        yield from word.split("__")
