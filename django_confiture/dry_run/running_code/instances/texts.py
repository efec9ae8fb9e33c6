"""Makes up texts for a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import EmailField, Field, URLField

from django_confiture.dry_run.running_code.catalog.numbers import uuid_of
from django_confiture.dry_run.running_code.instances.level import Level

_UNLIMITED = 1000
"""How many characters stand for a text without a limit."""
_PATTERNS: Mapping[type[Field[Any, Any]], str] = {
    EmailField: "{}@example.com",
    URLField: "https://example.com/{}",
}
_SHORT = 8
"""How many characters a unique text needs for itself."""
_FIRST_LETTERS: Mapping[Level, str] = {"least": "0", "modest": "a", "most": "X"}
"""What a unique text begins with, so that a CHECK is not met by chance."""
_LENGTH_OF_UUID = 36


def ordinary_text(field: Field[Any, Any], level: Level) -> str:
    """Return an ordinary text in small letters, or as long a one as there may be, in capitals."""
    if level == "least" and field.blank:
        return ""
    pattern = _pattern_of(field)
    if level != "most":
        return pattern.format("x")
    return pattern.format("X" * _room(field, pattern))


def unique_text(field: Field[Any, Any], level: Level, number: int) -> str:
    """Return a text that no row is likely to have; each ``number`` gives another one."""
    pattern = _pattern_of(field)
    room = _room(field, pattern)
    if _length_of(field) == _LENGTH_OF_UUID and pattern == "{}":
        return str(uuid_of(number))
    mark = format(number, "032x")
    if room > _SHORT:  # else each letter is needed
        mark = _FIRST_LETTERS[level] + mark
    if level == "most":
        return pattern.format(mark[:room] + "x" * (room - len(mark)))
    return pattern.format(mark[: min(room, 20)])


def _room(field: Field[Any, Any], pattern: str) -> int:
    return max(1, _length_of(field) - len(pattern) + 2)


def _length_of(field: Field[Any, Any]) -> int:
    """Return the longest text that a field takes; Django lets ``max_length`` be a text, too."""
    return int(field.max_length or _UNLIMITED)


def _pattern_of(field: Field[Any, Any]) -> str:
    return next((text for kind, text in _PATTERNS.items() if isinstance(field, kind)), "{}")
