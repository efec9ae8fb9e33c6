"""Text from outside in GitHub's and GitLab's Markdown: shown as it is, never interpreted."""

from __future__ import annotations

import re
from html import escape

from django_confiture.formatting import one_line
from django_confiture.reports.phrases.wording import (
    Words,
    about,
    about_size,
    clipped,
    visible,
    visible_lines,
)

_SPECIAL = re.compile(r"([\\`*{}\[\]<>#|~@&!$]|(?<!\w)_|_(?!\w))")
_REFERENCE = re.compile(r"((?:@|#|!|GH-)(?=\w)|:(?=//)|\bwww(?=\.))", re.IGNORECASE)
_NOTHING = "\u200b"
"""A zero-width space, so that what follows is not a mention, an issue or an address."""
_LONGEST = 300


def text(value: str, width: int = _LONGEST) -> str:
    """Return text that Markdown shows literally, and that mentions no one."""
    words = clipped(one_line(visible(value)), width)
    escaped = _SPECIAL.sub(r"\\\1", words)
    return _REFERENCE.sub(rf"\1{_NOTHING}", escaped)


def code(value: str) -> str:
    """Return a name or a statement as a code span."""
    words = clipped(one_line(visible(value)), _LONGEST) or " "
    fence = "`" * (_longest_run(words) + 1)
    pad = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{pad}{words}{pad}{fence}"


def block(value: str, language: str) -> str:
    """Return lines as a fenced block."""
    lines = visible_lines(value.rstrip())
    fence = "`" * max(3, _longest_run(lines) + 1)
    written = [f"{fence}{language}", *lines.splitlines(), fence]
    return "\n".join(line.rstrip() for line in written)


def in_html(value: str) -> str:
    """Return text for an HTML element, where Markdown's rules do not apply."""
    return escape(clipped(one_line(visible(value)), 300)).replace("@", f"@{_NOTHING}")


WORDS = Words(code, text, about, about_size)


def _longest_run(value: str) -> int:
    return max((len(run) for run in re.findall("`+", value)), default=0)
