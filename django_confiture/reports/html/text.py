"""Words, names and figures in the HTML report, which Django's templates escape."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.html import escape
from django.utils.safestring import SafeString

from django_confiture.dataclass_trees import with_texts
from django_confiture.dry_run.results import Report
from django_confiture.formatting import duration, size
from django_confiture.reports.phrases.verdicts import Mark
from django_confiture.reports.phrases.wording import Words, visible_lines


@dataclass(frozen=True)
class Badge:
    """How the page marks a verdict: the CSS class, a sign and a word."""

    css: str
    sign: str
    word: str


BADGES: dict[Mark, Badge] = {
    "fails": Badge("fails", "✗", "Fails"),
    "stopped": Badge("stopped", "■", "Stopped"),
    "skipped": Badge("skipped", "○", "Not run"),
    "locks": Badge("harm", "!", "Stops writes"),
    "rows": Badge("harm", "!", "Locks rows"),
    "risk": Badge("harm", "!", "Risk"),
    "part": Badge("harm", "?", "Partly known"),
    "safe": Badge("safe", "✓", "Safe"),
}


def harmless(report: Report) -> Report:
    """Return the report with its control characters made visible, in every text."""
    return with_texts(report, _printable)


def _printable(text: str) -> str:
    return text if text.isprintable() else visible_lines(text)


def code(name: str) -> str:
    """Return a name as markup."""
    return f"<code>{escape(name)}</code>"


def in_element(text: str) -> SafeString:
    """Return markup for use between tags, where quotes need no escaping."""
    return SafeString(escape(text).replace("&quot;", '"').replace("&#x27;", "'"))


def about(ms: float) -> str:
    """Return a duration as an approximate one: the next run takes a little more or less."""
    return "under 1 ms" if ms < 1 else f"about {duration(ms)}"


VERDICT_WORDS = Words(code, escape, about, size)
"""For verdicts: with markup, and approximate times."""

PLAIN_WORDS = Words(str, str, duration, size)
"""For facts, which the templates escape."""


def percent(value: float) -> str:
    """Return a length or a position in SVG."""
    return f"{value:.3f}".rstrip("0").rstrip(".") + "%"
