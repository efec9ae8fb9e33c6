"""Converts nested frozen dataclasses: to JSON values, from JSON values, with changed texts.

A field is a plain value, a dataclass, a tuple or a mapping of these, or one of them or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_json_values(value: Any) -> Any:
    """Return what ``json.dumps`` takes.

    Floats are rounded to three decimals, except in mappings, which hold settings of the server.
    Times are to the second.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_json_values(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, list | tuple):
        return [to_json_values(each) for each in value]
    if isinstance(value, Mapping):
        return {
            key: each if isinstance(each, float) else to_json_values(each)
            for key, each in value.items()
        }
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return round(value, 3) if isinstance(value, float) else value


def from_json_values(dataclass: type[T], value: Mapping[str, Any]) -> T:
    """Return the dataclass that :func:`to_json_values` was given.

    A field that is missing gets its default. Raises ``TypeError`` where it has none, and where a
    dataclass is expected and there is something else.
    """
    made = _made(dataclass, value)
    assert isinstance(made, dataclass)
    return made


def with_texts(value: T, change: Callable[[str], str]) -> T:
    """Return a copy with ``change`` applied to every string."""
    found: Any = value
    if isinstance(value, str):
        found = change(value)
    elif isinstance(value, tuple):
        found = tuple(with_texts(each, change) for each in value)
    elif is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: with_texts(getattr(value, f.name), change) for f in fields(value)}
        found = replace(value, **changed)
    result: T = found
    return result


@cache
def field_types(dataclass: type) -> Mapping[str, Any]:
    """Return the type of each field by its name, in order."""
    hints = get_type_hints(dataclass)
    return {each.name: hints[each.name] for each in fields(dataclass)}


def _made(hint: Any, value: Any) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise TypeError(f"{value!r} is not a {hint.__name__}")
        known = field_types(hint)
        return hint(
            **{name: _made(known[name], value[name]) for name in known.keys() & value.keys()}
        )
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if value is None else _made(_structured(arguments), value)
    if origin is tuple:
        each = arguments[0] if arguments[1:] == (...,) else Any
        return tuple(_made(each, item) for item in value)
    return value


def _structured(choices: tuple[Any, ...]) -> Any:
    """Return the dataclass or tuple among the choices; plain values are taken as they are."""
    found = [each for each in choices if is_dataclass(each) or get_origin(each) is tuple]
    return found[0] if found else Any
