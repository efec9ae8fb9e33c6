"""Reads the options of throttles; each error names the value and the fix."""

from __future__ import annotations

import math
from datetime import time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django_confiture import conf


def seconds(value: object, name: str) -> float:
    """Read a duration; infinite for None."""
    duration = conf.parse_duration(value, name=name)
    return math.inf if duration is None else duration.total_seconds()


def number(value: object, name: str) -> int:
    """Read a whole number of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise conf.SettingError(f"{name} is {value!r}", "write a number, 0 or more")
    return value


def time_zone(name: str) -> ZoneInfo | None:
    """Read a time zone; None for ``""``, which is the project's."""
    try:
        return ZoneInfo(name) if name else None
    except (OSError, ValueError, ZoneInfoNotFoundError) as error:
        raise conf.SettingError(
            f"timezone is {name!r}, which is not a time zone", 'write one such as "Europe/Paris"'
        ) from error


def clock(value: object, name: str) -> time:
    """Read a time of day."""
    try:
        return time.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        problem = f"{name} is {value!r}, which is not a time of day"
        raise conf.SettingError(problem, 'write one such as "22:00"') from None
