"""Texts of SQL made from others: readable to the parser, with numbers, without constants."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import postgast
from postgast import pg_query_pb2 as pg

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parser import Statement

_PLACEHOLDER = re.compile(r"%(?:\((?P<name>[^)]+)\))?(?P<format>[sbt])|%%")

_COMMENTS = {pg.SQL_COMMENT, pg.C_COMMENT}
_CONSTANTS = {pg.SCONST, pg.USCONST, pg.XCONST, pg.BCONST, pg.FCONST, pg.ICONST}


def readable(sql: str, stand_in: str) -> str:
    """Replace placeholders by what is as long, so that the parser's offsets hold."""

    def replaced(match: re.Match[str]) -> str:
        return "% " if match[0] == "%%" else stand_in.ljust(len(match[0].encode()))

    return _PLACEHOLDER.sub(replaced, sql)


def count_positional(sql: str, *, active: bool) -> int:
    """Count the placeholders without a name."""
    if not active:
        return 0
    return sum(1 for m in _PLACEHOLDER.finditer(sql) if m[0] != "%%" and not m["name"])


def with_numbers(statement: Statement) -> tuple[str, int]:
    """Return the text with ``$1`` for ``%s``, and how many parameters that makes."""
    if not statement.placeholders:
        return statement.sql, 0
    names: dict[str, int] = {}

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        name = match["name"] or f" {len(names)}"  # each positional one is another
        return f"${names.setdefault(name, len(names) + 1)}"

    return _PLACEHOLDER.sub(replaced, statement.sql), len(names)


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
        if token.token in _COMMENTS:
            parts.append(source[end : token.start].decode().rstrip() + " ")
            end = token.end + len(source[token.end :]) - len(source[token.end :].lstrip())
        elif token.token in _CONSTANTS and not limits and text not in ("0", "1"):
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


def expression_text(expression: Any) -> str:
    """Return an expression of the tree as SQL."""
    parsed = postgast.parse("SELECT 1")
    parsed.stmts[0].stmt.select_stmt.target_list[0].res_target.val.CopyFrom(expression)
    return str(postgast.deparse(parsed)).removeprefix("SELECT ")


def type_text(type_name: Any) -> str:
    """Return a type of the tree as SQL."""
    parsed = postgast.parse("SELECT NULL::int")
    cast = parsed.stmts[0].stmt.select_stmt.target_list[0].res_target.val.type_cast
    cast.type_name.CopyFrom(type_name)
    return str(postgast.deparse(parsed)).removeprefix("SELECT NULL::")


def quoted(name: str) -> str:
    """Return an identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'
