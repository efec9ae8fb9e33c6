"""SQL texts without the values in them, so that the same statement is known again.

This hides literals and is no parser: a text that it takes apart wrongly is compared wrongly with
itself, and so still equal.
"""

from __future__ import annotations

import re

LONGEST = 4000
"""Characters of a text that are kept."""

_TOKENS = re.compile(
    r"""
    (?P<name>"(?:[^"]|"")*")
  | (?P<value>
      [eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)            # an escape string
    | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|\Z)
    | \$(?P<tag>[^\W\d]\w*|)\$.*?(?:\$(?P=tag)\$|\Z)
    | (?<![\w$.])[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\b
    )
  | (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
  | (?P<space>\s+)
  | (?P<word>[\w$]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_LISTS = re.compile(r"(\?|%s|%\(\w+\)s)(?:\s*,\s*(?:\?|%s|%\(\w+\)s))+")
_ROWS = re.compile(r"(\((?:\?|%s|%\(\w+\)s)\))(?:\s*,\s*\((?:\?|%s|%\(\w+\)s)\))+")


def normalize(sql: str) -> str:
    """Return one line with ``?`` for each literal, and lists of values as one of them."""
    text = _TOKENS.sub(_plain, sql).strip().rstrip("; ")
    text = _ROWS.sub(r"\1", _LISTS.sub(r"\1", re.sub(r" {2,}", " ", text)))
    text = text.replace("\x00", "").encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _plain(match: re.Match[str]) -> str:
    if match["value"] is not None:
        return "?"
    if match["space"] is not None or match["comment"] is not None:
        return " "
    return match[0]
