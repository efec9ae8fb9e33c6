"""Whether a trigger may run twice for a row: batches that begin again update some rows again."""

from __future__ import annotations

import re

_ASIDE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
"""Comments and texts."""
_ELSEWHERE = re.compile(
    r"\b(?:insert\s+into|delete\s+from|merge\s+into|nextval|execute|update\b[^;]*\bset)\b"
    r"|\bperform\s+(?!(?:pg_catalog\.)?pg_notify\b)"
)
_ASSIGNED = re.compile(
    r'(?:\b(?:begin|else|loop|then)\b|;)\s*new\s*\.\s*"?(\w+)"?\s*:?=([^;]*)(?=;)'
)
_OWN_KIND = {"btrim", "coalesce", "lower", "ltrim", "nullif", "rtrim", "trim", "upper"}
"""Functions whose result they leave as it is."""
_NATIVE = ("suppress_redundant_updates_trigger", "tsvector_update_trigger")


def may_run_twice(language: str, source: str) -> bool:
    """Return whether a trigger's function does for a row that it has seen what it did before.

    It does where it writes to no table, and computes no column from the one before.
    """
    if language != "plpgsql":
        return language in ("c", "internal") and source.startswith(_NATIVE)
    code = _ASIDE.sub(" ", source).lower()
    return not _ELSEWHERE.search(code) and all(
        _is_same_again(*each.groups()) for each in _ASSIGNED.finditer(code)
    )


def _is_same_again(column: str, value: str) -> bool:
    if re.search(r"\bold\s*\.", value):
        return False
    if not re.search(rf'\bnew\s*\.\s*"?{column}\b', value):
        return True
    return not re.search(r"[-+*/|]", value) and {*re.findall(r"(\w+)\s*\(", value)} <= _OWN_KIND
