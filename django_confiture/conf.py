"""Reads ``settings.CONFITURE``, with defaults, and parses durations and sizes.

Nothing is cached, so a setting that a test overrides counts at once.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal, get_args

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

DEFAULTS: dict[str, Any] = {
    "HOOKS": {},
    "PHASES": {},
    "ENTRY_POINTS": True,
    "ENABLED": True,
    "TEST_DATABASES": False,
    "SILENCED": {},
    "MIGRATE": {
        "LOCK_TIMEOUT": None,
        "STATEMENT_TIMEOUT": None,
        "LOCK_RETRIES": 0,
        "RETRY_DELAY": "1s",
        "MAX_BLOCKING": None,
        "ONE_AT_A_TIME": True,
        "RESUME": False,
        "ANALYZE": False,
    },
    "DRY_RUN": {
        "LOCK_TIMEOUT": "2s",
        "STATEMENT_TIMEOUT": None,
        "YIELD_AFTER": "200ms",
        "MAX_DEAD_SPACE": "1GB",
        "RUNNING_CODE": True,
        "CALIBRATION": None,
        "FAIL_ON": None,
        "MAX_BLOCKING": None,
        "TABLES": None,
        "MAX_WAL": None,
        "MAX_DURATION": None,
    },
    "BACKFILLS": {
        "TARGET": "500ms",
        "MIN": 100,
        "MAX": 200_000,
        "LOCK_TIMEOUT": "2s",
        "STATEMENT_TIMEOUT": "20s",
        "LEASE": "1min",
        "SLICE": "1min",
        "WORKERS": 2,
        "ATTEMPTS": 10,
        "MAX_ROW_ERRORS": 100,
        "TASK_BACKEND": "default",
        "QUEUE": "default",
        "THROTTLES": ["django_confiture.backfills.throttles.ReplicationLag"],
    },
}

FailOn = Literal["failure", "danger", "warning"]
FAIL_ON = get_args(FailOn)

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "min": 60e3, "h": 3600e3, "d": 86400e3}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)\s*")
_SIZE_UNITS = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)\s*")


_LONGEST_MS = 36_500 * _UNITS["d"]
_TOO_LARGE = 2**63
"""Bytes; too many for PostgreSQL's integers."""


class SettingError(ImproperlyConfigured):
    """A setting that can't be used: what is wrong, with the exact value, and the fix.

    ``quantity`` is True if the value should be a duration or a size.
    """

    def __init__(self, problem: str, fix: str, *, quantity: bool = False) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix
        self.quantity = quantity

    def __str__(self) -> str:
        return f"{self.problem}; {self.fix}."


def user_settings() -> Mapping[str, Any]:
    """Return ``settings.CONFITURE``, empty without configured settings.

    A :class:`SettingError` says that it is not a dictionary.
    """
    given = getattr(settings, "CONFITURE", None) if settings.configured else None
    return mapping(given, "CONFITURE")


def get(key: str) -> Any:
    """Return one upper-case key of ``CONFITURE``, or its default.

    Keys of a dictionary that the project does not set get their defaults.
    """
    default = DEFAULTS[key]
    given = user_settings().get(key, default)
    if isinstance(default, dict):
        return {**default, **mapping(given, f'CONFITURE["{key}"]')}
    return given


def mapping(value: object, name: str) -> Mapping[str, Any]:
    """Return a dictionary, an empty one for None; a :class:`SettingError` names anything else."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    raise SettingError(f"{name} is {value!r}", "write a dictionary")


def parse_duration(value: object, *, name: str) -> timedelta | None:
    """Turn ``"500ms"``, ``"2s"``, ``"5min"`` (PostgreSQL's units) into a ``timedelta``.

    ``None`` stays ``None``. Anything else is a :class:`SettingError` that names the option.
    """
    if value is None or (isinstance(value, timedelta) and value >= timedelta(0)):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    milliseconds = float(match[1]) * _UNITS[match[2]] if match is not None else math.inf
    if milliseconds > _LONGEST_MS:
        raise SettingError(
            f"{name} is {shortened(value)}, which is not a duration"
            + (" of less than 100 years" if match is not None else ""),
            'write a number and a unit, such as "500ms", "2s" or "5min"',
            quantity=True,
        )
    return timedelta(milliseconds=milliseconds)


def milliseconds(duration: timedelta) -> str:
    """Return a timeout as PostgreSQL spells it, rounded up to milliseconds: 0 turns it off."""
    return f"{min(math.ceil(duration / timedelta(milliseconds=1)), 2**31 - 1)}ms"


def parse_size(value: object, *, name: str) -> int | None:
    """Turn ``"512MB"``, ``"1GB"`` (PostgreSQL's units, 1 kB is 1024 bytes) into bytes.

    ``None`` stays ``None``. Anything else is a :class:`SettingError` that names the option.
    """
    if value is None:
        return None
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = float(match[1]) * _SIZE_UNITS[match[2]] if match is not None else math.inf
    if size >= _TOO_LARGE:
        raise SettingError(
            f"{name} is {shortened(value)}, which is not a size"
            + (" that PostgreSQL knows" if match is not None else ""),
            'write a number and a unit, such as "512MB" or "1GB"',
            quantity=True,
        )
    return round(size)


def shortened(value: object) -> str:
    """Return a value as Python writes it, cut after 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_fail_on(value: object, *, name: str) -> Any:
    """Return a severity of :data:`FAIL_ON`, or None."""
    if value is None or value in FAIL_ON:
        return value
    choices = ", ".join(f'"{each}"' for each in FAIL_ON)
    raise SettingError(f"{name} is {value!r}", f"write one of {choices}")


def parse_tables(value: object, *, name: str) -> dict[str, timedelta]:
    """Return table → duration; empty for None."""
    given = mapping(value, name)
    limits = {key: parse_duration(given[key], name=f'{name}["{key}"]') for key in given}
    return {key: limit for key, limit in limits.items() if limit is not None}


def parse_name(value: object, *, name: str) -> str:
    """Return a name that is not empty."""
    if isinstance(value, str) and value:
        return value
    raise SettingError(f"{name} is {value!r}", 'write a name, such as "default"')


def parse_path(value: object, *, name: str) -> str | None:
    """Return a file's path; ``None`` stays ``None``."""
    if value is None:
        return None
    if isinstance(value, str | os.PathLike) and str(value):
        return str(value)
    raise SettingError(f"{name} is {shortened(value)}", "write the path of a file")


def parse_switch(value: object, *, name: str) -> bool:
    """Return True or False."""
    if isinstance(value, bool):
        return value
    raise SettingError(f"{name} is {value!r}", "write True or False")


def parse_entries(value: object, *, name: str) -> tuple[Any, ...]:
    """Return dotted paths, or dictionaries that hold one; empty for None."""
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(value)
    raise SettingError(f"{name} is {value!r}", "write a list")


_PARSERS: dict[str, Callable[..., Any]] = {
    "ONE_AT_A_TIME": parse_switch,
    "RESUME": parse_switch,
    "ANALYZE": parse_switch,
    "RUNNING_CODE": parse_switch,
    "MAX_DEAD_SPACE": parse_size,
    "CALIBRATION": parse_path,
    "FAIL_ON": parse_fail_on,
    "TABLES": parse_tables,
    "MAX_WAL": parse_size,
    "TASK_BACKEND": parse_name,
    "QUEUE": parse_name,
    "THROTTLES": parse_entries,
}
"""The parsers of these keys; the other settings that are not numbers are durations."""


def parse(key: str, value: object, *, name: str) -> Any:
    """Return what the setting ``key`` says, if its default is not a number."""
    return _PARSERS.get(key, parse_duration)(value, name=name)
