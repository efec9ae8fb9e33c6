"""The order of operations in which renames and new types come as late as the others allow."""

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
) -> list[int]:
    """Return the indexes of operations, with those given behind what can go before them.

    An operation goes before one that renames where it has none of its names, and before one that
    changes a type where it makes or drops indexes and constraints. All others keep their order.
    """
    order: list[int] = []
    for index, operation in enumerate(operations):
        place = len(order)
        if index not in renaming and index not in retyping:
            while place and (
                (
                    order[place - 1] in renaming
                    and _independent(operations[order[place - 1]], operation)
                )
                or (order[place - 1] in retyping and type(operation) in _OF_INDEXES)
            ):
                place -= 1
        order.insert(place, index)
    return order


def _independent(renaming: Operation, operation: Operation) -> bool:
    """Return whether an operation says what it changes, and has no name of what is renamed."""
    named = _names_in(operation)
    return bool(named) and named.isdisjoint(_names_of(renaming))


def _names_of(operation: Operation) -> set[str]:
    """Return the words by which others know what an operation renames."""
    if isinstance(operation, RenameModel):
        return {operation.old_name_lower, operation.new_name_lower}
    if isinstance(operation, AlterModelTable):
        return set()
    if isinstance(operation, RenameField):
        names = [operation.old_name_lower, operation.new_name_lower]
    else:
        assert isinstance(operation, AlterField)
        names = [operation.name_lower]
    return {word for name in names for word in (*_words(name), *_words(f"{name}_id"))}


def _names_in(operation: Operation) -> set[str]:
    """Return every word of an operation's texts; none where they don't say what it changes."""
    if type(operation) not in _OF_MODELS:
        return set()
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
