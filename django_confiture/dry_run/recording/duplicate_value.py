"""The value that a new unique index found twice, as PostgreSQL tells it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django_confiture.dry_run.sql.parsing.identifiers import quote_literal

_VALUE = re.compile(r"\)=\((.*)\)", re.DOTALL)
"""In ``Key (a, b)=(1, x) is duplicated.``, whatever the server's language is."""


def has_value_of(keys: Sequence[str], detail: str | None, *, where: str) -> str:
    """Return the condition that a row has the value of the error's detail; "" without a value."""
    value = _VALUE.search(detail or "")
    if value is None:
        return ""
    text = " || ', ' || ".join(f"coalesce(({key})::text, 'null')" for key in keys)
    return f"({where}) AND {text} = {quote_literal(value[1])}"
