"""Rewrites SQL texts: placeholders for the parser or numbered, constants or keywords left out."""

from __future__ import annotations

import re
from functools import lru_cache

from django_confiture.dry_run.sql.parsing.library import pg, postgast

_PLACEHOLDER = re.compile(r"%(?:\((?P<name>[^)]+)\))?(?P<format>[sbt])|%%")

COMMENTS = {pg.SQL_COMMENT, pg.C_COMMENT}
WHOLE_NUMBERS = {pg.ICONST}
CONSTANTS = {pg.SCONST, pg.USCONST, pg.XCONST, pg.BCONST, pg.FCONST, pg.ICONST}


def readable(sql: str, stand_in: str) -> str:
    """Replace placeholders with stand-ins of the same length, so that the parser's offsets hold."""

    def replaced(match: re.Match[str]) -> str:
        return "% " if match[0] == "%%" else stand_in.ljust(len(match[0].encode()))

    return _PLACEHOLDER.sub(replaced, sql)


def count_positional(sql: str, *, active: bool) -> int:
    """Count the placeholders without a name."""
    if not active:
        return 0
    return sum(1 for m in _PLACEHOLDER.finditer(sql) if m[0] != "%%" and not m["name"])


def with_numbers(sql: str) -> tuple[str, int]:
    """Return the text with ``$1`` for ``%s``, and how many parameters that makes."""
    names: dict[str, int] = {}

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        name = match["name"] or f" {len(names)}"  # each positional one is another
        return f"${names.setdefault(name, len(names) + 1)}"

    return _PLACEHOLDER.sub(replaced, sql), len(names)


@lru_cache(maxsize=512)
def without_constants(sql: str, stand_in: str) -> str:
    """Return the text with ``stand_in`` for its constants, and without its comments.

    0, 1 and what LIMIT says stay.
    """
    try:
        tokens = list(postgast.scan(sql).tokens)
    except postgast.PgQueryError:
        command = re.match(r"\s*([a-zA-Z]+)\s", sql)
        return f"{command[1]} {stand_in}" if command is not None else stand_in
    source, parts, end = sql.encode(), [], 0
    for before, token in zip([None, *tokens], tokens, strict=False):
        text = source[token.start : token.end].decode()
        limits = before is not None and before.token in (pg.LIMIT, pg.OFFSET)
        if token.token in COMMENTS:
            parts.append(source[end : token.start].decode().rstrip() + " ")
            end = token.end + len(source[token.end :]) - len(source[token.end :].lstrip())
        elif token.token in CONSTANTS and not limits and text not in ("0", "1"):
            quote = "" if token.token in (pg.ICONST, pg.FCONST) else "'"
            parts += [source[end : token.start].decode(), f"{quote}{stand_in}{quote}"]
            end = token.end
    return "".join([*parts, source[end:].decode()]).strip()


def without_concurrently(sql: str) -> str:
    """Blank the keyword, found by the parser's own scanner, so that positions stay the same."""
    source = bytearray(sql.encode())
    for token in postgast.scan(readable(sql, "$1")).tokens:
        if token.token == pg.CONCURRENTLY:
            source[token.start : token.end] = b" " * (token.end - token.start)
            break
    text = source.decode()
    if not text.upper().startswith("REINDEX"):
        return text
    # One of the options in parentheses: with it goes a comma, or the parentheses.
    return re.sub(r"\(\s*\)|(?<=\()\s*,|,(?=\s*[,)])", "", text, count=1)


def is_keyword(word: str) -> bool:
    """Return whether a word is one of SQL's own; one that may be a name, too, in capitals only."""
    kinds = {each.keyword_kind for each in postgast.scan(word).tokens}
    if pg.UNRESERVED_KEYWORD in kinds or not word.islower():
        return pg.NO_KEYWORD not in kinds and word.isupper()
    return pg.NO_KEYWORD not in kinds
