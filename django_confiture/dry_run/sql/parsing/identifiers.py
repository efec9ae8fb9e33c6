"""Names of relations and columns, and literals, as SQL text."""

from __future__ import annotations


def quote_identifier(name: str) -> str:
    """Return a name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return a text as a literal, whatever standard_conforming_strings says."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in quoted else quoted


def qualified_name(*parts: str) -> str:
    """Return a qualified name, each part in double quotes; empty parts are left out.

    The parser has already folded the case, so every part is quoted.
    """
    return ".".join(quote_identifier(part) for part in parts if part)
