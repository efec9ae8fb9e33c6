"""What the HTML report makes of words, names and figures; Django's templates escape them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from django.utils.html import escape
from django.utils.safestring import SafeString

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.results import Report, TableLock
from django_confiture.formatting import duration
from django_confiture.reports.phrases.verdicts import Mark, Words
from django_confiture.reports.phrases.wording import visible_lines

_T = TypeVar("_T")

BADGES: dict[Mark, tuple[str, str]] = {
    "fails": ("✗", "Fails"),
    "stopped": ("■", "Stopped"),
    "skipped": ("○", "Not run"),
    "harm": ("!", "Caution"),
    "safe": ("✓", "Safe"),
}
"""A sign and a word for each verdict."""


def harmless(report: Report) -> Report:
    """Return the report with nothing in any of its texts that a page obeys, or can't show."""
    return _harmless(report)


def _harmless(value: _T) -> _T:
    found: Any = value
    if isinstance(value, str):
        found = value if value.isprintable() else visible_lines(value)
    elif isinstance(value, tuple):
        found = tuple(_harmless(each) for each in value)
    elif is_dataclass(value) and not isinstance(value, type):
        found = replace(value, **{f.name: _harmless(getattr(value, f.name)) for f in fields(value)})
    result: _T = found
    return result


def code(name: str) -> str:
    """Return a name as markup."""
    return f"<code>{escape(name)}</code>"


def in_element(text: str) -> SafeString:
    """Return markup for between tags, where quotes are but quotes: statements are full of them."""
    return SafeString(escape(text).replace("&quot;", '"').replace("&#x27;", "'"))


def about(ms: float) -> str:
    """Return a duration that no second run will have to the millisecond."""
    return "under 1 ms" if ms < 1 else f"about {duration(ms)}"


WORDS = Words(code, escape, about)


def effect(lock: TableLock) -> str:
    """Say what a lock keeps others from, as a sentence goes on."""
    mode = LockMode[lock.mode]
    if mode.blocks_reads:
        return "blocks reads and writes"
    return "blocks writes" if mode.blocks_writes else ""


def percent(value: float) -> str:
    """Return a length or a position in SVG."""
    return f"{value:.3f}".rstrip("0").rstrip(".") + "%"
