"""Options of shipped hooks: declared on the class, read with their type, checked as a whole.

A parser takes the given value and its name, and returns the value to use or raises a
:class:`~django_confiture.conf.SettingError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from django.core.checks import Error
from django.utils.module_loading import import_string

from django_confiture import conf

if TYPE_CHECKING:
    from django_confiture.hooks.base import Hook

T = TypeVar("T")
Parser = Callable[[object, str], T]

UNKNOWN, WRONG = "confiture.E011", "confiture.E012"
"""Ids of the system checks."""

_MISSING: Any = object()


class Option(Generic[T]):
    """One option of a hook: an attribute that holds the parsed value of ``self.options``."""

    def __init__(self, parse: Parser[T], default: object = _MISSING) -> None:
        """Take the parser and the default as a project would write it; without one, required."""
        self.parse = parse
        self.default = default
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, hook: None, owner: type) -> Option[T]: ...
    @overload
    def __get__(self, hook: Hook, owner: type) -> T: ...
    def __get__(self, hook: Hook | None, owner: type) -> Option[T] | T:
        if hook is None:
            return self
        name = f'{registered_name(owner)}: OPTIONS["{self.name}"]'
        if self.name not in hook.options and self.required:
            raise conf.SettingError(f"{name} is missing", "write it: it is required")
        return self.parse(hook.options.get(self.name, self.default), name)

    @property
    def required(self) -> bool:
        """Whether the hook does not work without it."""
        return self.default is _MISSING


def registered_name(hook_class: type) -> str:
    """Return the name under which a shipped hook is registered; of another class, its own."""
    return getattr(hook_class, "registered_name", hook_class.__name__)


def declared_options(hook_class: type) -> dict[str, Option[Any]]:
    """Return the options that a hook's class declares, by name and in their order."""
    return {
        name: value
        for base in reversed(hook_class.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, Option)
    }


def option_errors(hook: Hook) -> Iterator[Error]:
    """Yield an error for each option that the hook does not know, or whose value is wrong."""
    known = declared_options(type(hook))
    for given in hook.options:
        if given not in known:
            yield _unknown(type(hook), given, list(known))
    for name in known:
        try:
            getattr(hook, name)
        except conf.SettingError as error:
            yield wrong_option(error)


def wrong_option(error: conf.SettingError) -> Error:
    """Return the system check for a value that can't be used."""
    fix = error.fix[0].upper() + error.fix[1:]
    return Error(f"{error.problem}.", hint=f"{fix}.", id=WRONG)


def _unknown(hook_class: type, given: object, known: Sequence[str]) -> Error:
    close = get_close_matches(str(given).lower(), known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(known)}."
    problem = f"{registered_name(hook_class)} has the unknown option {given!r}."
    return Error(problem, hint=hint, id=UNKNOWN)


# Parsers.


def optional(parse: Parser[T]) -> Parser[T | None]:
    """Return a parser for which None stays None."""
    return lambda value, name: None if value is None else parse(value, name)


def duration(value: object, name: str) -> timedelta:
    """Read ``"500ms"``, ``"2s"``, ``"24h"`` or a ``timedelta``."""
    parsed = conf.parse_duration(value, name=name)
    if parsed is None:
        raise conf.SettingError(f"{name} is {value!r}", 'write a duration, such as "30s" or "5min"')
    return parsed


def byte_size(value: object, name: str) -> int:
    """Read ``"512MB"`` or ``"1GB"``."""
    parsed = conf.parse_size(value, name=name)
    if parsed is None:
        raise conf.SettingError(f"{name} is None", 'write a size, such as "512MB" or "1GB"')
    return parsed


def flag(value: object, name: str) -> bool:
    """Read True or False."""
    if isinstance(value, bool):
        return value
    raise conf.SettingError(f"{name} is {value!r}", "write True or False")


def text(value: object, name: str) -> str:
    """Read a string that is not empty."""
    if isinstance(value, str) and value:
        return value
    raise conf.SettingError(f"{name} is {value!r}", "write a string")


def number(value: object, name: str) -> float:
    """Read a number of 0 or more."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return value
    raise conf.SettingError(f"{name} is {value!r}", "write a number, 0 or more")


def whole_number(value: object, name: str) -> int:
    """Read a whole number of 0 or more."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise conf.SettingError(f"{name} is {value!r}", "write a whole number, 0 or more")


def one_of(*choices: str) -> Parser[str]:
    """Return a parser that takes one of ``choices``."""

    def parse(value: object, name: str) -> str:
        if isinstance(value, str) and value in choices:
            return value
        listed = ", ".join(f'"{each}"' for each in choices)
        raise conf.SettingError(f"{name} is {value!r}", f"write one of {listed}")

    return parse


def texts(value: object, name: str) -> tuple[str, ...]:
    """Read a list of strings."""
    if isinstance(value, list | tuple) and all(isinstance(each, str) and each for each in value):
        return tuple(value)
    raise conf.SettingError(f"{name} is {value!r}", "write a list of strings")


def mapping_of(parse: Parser[T]) -> Parser[dict[str, T]]:
    """Return a parser of a dictionary: strings → what ``parse`` reads."""

    def read(value: object, name: str) -> dict[str, T]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise conf.SettingError(f"{name} is {value!r}", "write a dictionary")
        return {key: parse(value[key], f"{name}[{key!r}]") for key in value}

    return read


def function(value: object, name: str) -> Callable[..., Any]:
    """Read a function, or the dotted path of one."""
    found = value
    if isinstance(value, str):
        try:
            found = import_string(value)
        except Exception as error:
            raise conf.SettingError(
                f"{name} is {value!r}, which cannot be imported ({type(error).__name__}: {error})",
                'write the dotted path of a function, such as "ops.backups.latest"',
            ) from error
    if callable(found):
        return found
    raise conf.SettingError(
        f"{name} is {value!r}, which cannot be called",
        'write a function, or the dotted path of one, such as "ops.backups.latest"',
    )
