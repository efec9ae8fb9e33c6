"""What the code of a DO block or a function runs, as PL/pgSQL's own parser reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django_confiture.dry_run.sql.parsing.library import pg, postgast

_MAY_COMMIT = {"PLpgSQL_stmt_commit", "PLpgSQL_stmt_rollback", "PLpgSQL_stmt_call"}
# The parser's JSON of a trigger function is broken, so it reads one with two arguments instead.
_TRIGGER = re.compile(r"\(\s*\)\s+RETURNS\s+trigger\b", re.IGNORECASE)
_WITH_ARGUMENTS = "(new record, old record) RETURNS record"
_STATEMENT = 0
"""``parseMode`` of a whole SQL statement; all others are expressions and assignments."""


@dataclass(frozen=True)
class CodeBlock:
    """The SQL in a block."""

    may_commit: bool
    """Whether it holds COMMIT, ROLLBACK, CALL or another DO."""
    sql: tuple[str, ...]
    """Its statements, and its expressions as ``SELECT``."""
    literals: tuple[str, ...]
    """The strings in them: what is given to EXECUTE, among others."""


@lru_cache(maxsize=128)
def code_block(statement: str) -> CodeBlock | None:
    """Return what DO runs, or CREATE FUNCTION makes; None if not PL/pgSQL, or not readable."""
    try:
        functions = postgast.parse_plpgsql(_TRIGGER.sub(_WITH_ARGUMENTS, statement, count=1))
    except (postgast.PgQueryError, ValueError):
        return None
    if not any("action" in each.get("PLpgSQL_function", {}) for each in functions):
        return None  # another language
    items = list(_items(functions))
    sql = tuple(_as_statement(value) for key, value in items if key == "PLpgSQL_expr")
    return CodeBlock(
        may_commit=any(key in _MAY_COMMIT for key, _value in items),
        sql=sql,
        literals=tuple(literal for text in sql for literal in strings_in(text)),
    )


def _items(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key of the parser's JSON with its value."""
    for each in tree if isinstance(tree, list) else [tree]:
        if isinstance(each, dict):
            for key, value in each.items():
                yield key, value
                yield from _items(value)


def _as_statement(expression: dict[str, Any]) -> str:
    query = str(expression["query"])
    if expression.get("parseMode", _STATEMENT) == _STATEMENT:
        return query
    _variable, assigned, value = query.partition(":=")
    return f"SELECT {value if assigned else query}"


def strings_in(sql: str) -> Iterator[str]:
    """Yield the string constants of a statement; none of what is not readable."""
    try:
        tree = postgast.parse(sql)
    except postgast.PgQueryError:
        return
    for constant in postgast.find_nodes(tree, pg.A_Const):
        if constant.WhichOneof("val") == "sval":
            yield str(constant.sval.sval)
