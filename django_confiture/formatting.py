"""Times, durations, sizes, counts and names as people write them, and text on one line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from django.utils import timezone


def local_time(moment: datetime) -> datetime:
    """Return a moment in the current time zone; without ``USE_TZ`` it is in that already."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def duration(ms: float) -> str:
    """Return milliseconds in a fitting unit."""
    if ms < 1:
        return "<1 ms"
    if ms < 999.5:  # more would be rounded up to 1000 ms
        return f"{ms:.0f} ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f} s"
    return f"{ms / 60_000:.1f} min"


def size(count: int) -> str:
    """Return bytes as PostgreSQL's ``pg_size_pretty`` does."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if round(value) < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"


def count(number: int, what: str) -> str:
    """Return ``1 row``, ``2,000 rows``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def path_of(function: Callable[..., Any]) -> str:
    """Return ``module.name`` of a function: of what a partial calls, of an object's class."""
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def one_line(value: object) -> str:
    """Return a text, such as an error's, on one line: each run of white space is one space."""
    return " ".join(str(value).split())


def error_line(error: BaseException) -> str:
    """Return an error's type and text on one line."""
    text = one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def listed(names: list[str] | tuple[str, ...], *, word: str = "and") -> str:
    """Return ``a``, ``a and b``, ``a, b and c``."""
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
