"""What the text of SQL tells without a parser: its names, and its first word.

A real ``migrate`` has no SQL parser, and the code of functions has no tree in most languages. What
has a tree is read by ``dry_run/sql/parsing``.
"""

from __future__ import annotations

import re

_WORD = r"[\w$]+"
_QUOTED = r'"(?:[^"]|"")+"'

NAME = rf"(?:{_WORD}|{_QUOTED})"
"""A name, as part of a regular expression."""
QUALIFIED_NAME = rf"{NAME}(?:\s*\.\s*{NAME})?"
"""A name with or without its schema."""

_WORDS = re.compile(_WORD)
_IN_QUOTES = re.compile(_QUOTED)
_PARTS = re.compile(rf"(?:^|(?<=\.))({_QUOTED}|[^.]*)(?=\.|$)")
_SPACE = re.compile(r"\s+|--[^\n]*")
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def names_in(*texts: str) -> frozenset[str]:
    """Return what may be a name in some texts, as catalogs have it, and every other word.

    A name without quotes is in lower case there; the word as it is written is returned as well.
    """
    words = [word for text in texts for word in _WORDS.findall(text)]
    quoted = [_unquoted(name) for text in texts for name in _IN_QUOTES.findall(text)]
    return frozenset([*words, *map(str.lower, words), *quoted])


def stands_in(name: str, text: str, *, is_cut: bool = False) -> bool:
    """Return whether a name of the catalogs stands in SQL, in quotes or not.

    Of one that ``is_cut``, the beginning.
    """
    return _stands(name.replace('"', '""'), text, "" if is_cut else r"(?![\w$])")


def is_written_in(written: str, text: str) -> bool:
    """Return whether a name stands in SQL, given as SQL writes it: with its schema and quotes."""
    return _stands(written, text, r"(?![\w$])")


def _stands(written: str, text: str, end: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(written)}{end}", text, re.IGNORECASE) is not None


def parts_of(written: str) -> list[str]:
    """Return the parts of a name with or without its schema: ``sales."a.b"`` has two."""
    return [_unquoted(part) for part in _PARTS.findall(written)]


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def without_leading_comments(sql: str) -> str:
    """Return a statement from its first word on."""
    start, end = -1, 0
    while start != end:
        start = end
        if space := _SPACE.match(sql, start):
            end = space.end()
        elif sql.startswith("/*", start):
            end = _end_of_comment(sql, start)
    return sql[start:]


def first_word(sql: str) -> str:
    """Return the first word of a statement."""
    return next(iter(without_leading_comments(sql).split(None, 1)), "")


def _end_of_comment(sql: str, start: int) -> int:
    """Return where a comment ends; PostgreSQL's may hold others."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)
