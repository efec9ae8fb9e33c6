"""Whose timeout it was: the dry run's, or one that a migration sets for itself."""

from __future__ import annotations

import re
from collections.abc import Iterable

from psycopg.errors import QueryCanceled

from django_confiture.dry_run.sql.parsing.library import pg
from django_confiture.dry_run.sql.parsing.nodes import Node, constant_text, strings
from django_confiture.dry_run.sql.parsing.parser import Statement, parse
from django_confiture.dry_run.sql.parsing.plpgsql import code_block

OUR_TIMEOUT = "the dry run's own (STATEMENT_TIMEOUT)"

_OFF = re.compile(r"[-+]?[0.]+\s*[a-z]*", re.IGNORECASE)
_IN_CODE = r"\b{}\b'?\s*(?:=|,|\bTO\b)(?!\s*'?{}(?![\d.]))"
"""In SQL that no tree shows: ``SET``, or ``set_config``, to something that is not 0."""


def is_session_timeout(error: BaseException, statements: Iterable[Statement]) -> bool:
    """Return whether a statement was canceled by the session's timeout, which is the dry run's.

    A migration that sets its own timeout, in one of its ``statements``, has met with that.
    """
    own = (sets_timeout(each, "statement_timeout") for each in statements)
    return isinstance(error, QueryCanceled) and not any(own)


def sets_timeout(statement: Statement, name: str) -> bool:
    """Return whether a statement limits itself or later ones by the setting ``name``.

    0 is no limit, and neither are ``RESET`` and ``SET … TO DEFAULT``.
    """
    if name not in statement.sql.lower():
        return False
    if statement.what == "do_stmt" and (block := code_block(statement.sql)) is not None:
        inside = (each for text in (*block.sql, *block.literals) for each in _parsed(text))
        return any(sets_timeout(each, name) for each in inside)
    if statement.node is None or statement.hides_code:
        found = re.compile(_IN_CODE.format(name, _OFF.pattern), re.IGNORECASE)
        return found.search(statement.sql) is not None
    if statement.what == "variable_set_stmt":
        given = statement.node.variable_set_stmt
        values = [constant_text(each) for each in given.args]
        return given.kind == pg.VAR_SET_VALUE and given.name == name and _limits(values)
    return any(_configures(call, name) for call in statement.function_calls)


def _parsed(text: str) -> tuple[Statement, ...]:
    return parse(text, placeholders=False)


def _configures(call: Node, name: str) -> bool:
    if strings(call.funcname)[-1] != "set_config" or len(call.args) < 2:
        return False
    setting, value = (constant_text(each) for each in call.args[:2])
    return setting == name and _limits([value])


def _limits(values: list[str]) -> bool:
    return any(not _OFF.fullmatch(value.strip()) for value in values)
