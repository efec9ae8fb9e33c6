"""``settings.CONFITURE`` over one literal of defaults.

Nothing is cached: a setting that a test overrides counts from the next look at it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

DEFAULTS: dict[str, Any] = {
    "HOOKS": {},
    "PHASES": {},
    "ENTRY_POINTS": True,
    "ENABLED": True,
    "TEST_DATABASES": False,
    "MIGRATE": {
        "LOCK_TIMEOUT": None,
        "STATEMENT_TIMEOUT": None,
        "LOCK_RETRIES": 0,
        "RETRY_DELAY": "1s",
    },
    "DRY_RUN": {
        "LOCK_TIMEOUT": "1s",
        "STATEMENT_TIMEOUT": None,
        "YIELD_AFTER": "200ms",
    },
}

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "min": 60e3, "h": 3600e3, "d": 86400e3}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)\s*")


class SettingError(ImproperlyConfigured):
    """A setting that can't be used: what is wrong, with the exact value, and the fix."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}; {fix}.")
        self.problem = problem
        self.fix = fix


def user_settings() -> dict[str, Any]:
    """Return ``settings.CONFITURE`` as the project wrote it; empty without configured settings."""
    return getattr(settings, "CONFITURE", None) or {} if settings.configured else {}


def get(key: str) -> Any:
    """Return one upper-case key of ``CONFITURE``, the default where the project sets none.

    A dictionary of the project's goes over the one of the defaults.
    """
    default = DEFAULTS[key]
    given = mapping(user_settings(), "CONFITURE").get(key, default)
    if isinstance(default, dict):
        return {**default, **mapping(given or {}, f'CONFITURE["{key}"]')}
    return given


def mapping(value: object, name: str) -> Mapping[str, Any]:
    """Return ``value`` if it is a dictionary, else a :class:`SettingError` names it."""
    if isinstance(value, Mapping):
        return value
    raise SettingError(f"{name} is {value!r}", "write a dictionary")


def parse_duration(value: object, *, name: str) -> timedelta | None:
    """Turn ``"500ms"``, ``"2s"``, ``"5min"`` (PostgreSQL's units) into a ``timedelta``.

    ``None`` stays ``None``. Anything else is a :class:`SettingError` that names the option.
    """
    if value is None or isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise SettingError(
            f"{name} is {value!r}, which is no duration",
            'write a number and a unit, such as "500ms", "2s" or "5min"',
        )
    return timedelta(milliseconds=float(match[1]) * _UNITS[match[2]])
