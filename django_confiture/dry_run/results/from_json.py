"""Results from what JSON has made of them, so that a report that was kept can be rendered anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from django_confiture.dry_run.results import Report


def restored(document: Mapping[str, Any]) -> Report:
    """Return the report that a JSON report tells of.

    What an older release did not know gets its default. Raises ``TypeError`` where there is none,
    as for a document that is no report.
    """
    report = _restored(Report, document)
    assert isinstance(report, Report)
    return report


def _restored(hint: Any, value: Any) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise TypeError(f"{value!r} is no {hint.__name__}")
        known = _hints(hint)
        return hint(
            **{name: _restored(known[name], value[name]) for name in known.keys() & value.keys()}
        )
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if value is None else _restored(_only(arguments), value)
    if origin is tuple:
        each = arguments[0] if arguments[1:] == (...,) else Any
        return tuple(_restored(each, item) for item in value)
    return value


def _only(choices: tuple[Any, ...]) -> Any:
    """Return the dataclass, or the tuple, that may be None; plain values need no look."""
    found = [each for each in choices if is_dataclass(each) or get_origin(each) is tuple]
    return found[0] if found else Any


@cache
def _hints(dataclass: type) -> dict[str, Any]:
    hints = get_type_hints(dataclass)
    return {field.name: hints[field.name] for field in fields(dataclass)}
