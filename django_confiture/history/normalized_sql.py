"""SQL without its literals, so that the same statement is recognized again.

This is not a parser. A text that it splits wrongly is split the same way each time, so it still
equals itself.
"""

from __future__ import annotations

import re

LONGEST = 4000
"""Characters that are kept of a text."""

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
    """Return one line with ``?`` for each literal, and one ``?`` for a list of them."""
    text = _TOKENS.sub(_without_literal, sql).strip().rstrip("; ")
    text = _ROWS.sub(r"\1", _LISTS.sub(r"\1", re.sub(r" {2,}", " ", text)))
    text = text.replace("\x00", "").encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _without_literal(match: re.Match[str]) -> str:
    if match["value"] is not None:
        return "?"
    if match["space"] is not None or match["comment"] is not None:
        return " "
    return match[0]
