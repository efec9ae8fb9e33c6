"""Whose timeout it was: one that a migration sets for itself, or that of the dry run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from postgast import pg_query_pb2 as pg
from psycopg.errors import QueryCanceled

from django_confiture import conf

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parser import Statement

OUR_TIMEOUT = "that of the dry run (STATEMENT_TIMEOUT)"

_OFF = re.compile(r"[-+]?[0.]+\s*[a-z]*", re.IGNORECASE)
_IN_CODE = r"\b{}\b'?\s*(?:=|,|\bTO\b)(?!\s*'?{}(?![\d.]))"
"""In SQL that no tree shows: ``SET``, or ``set_config``, to something that is not 0."""


def is_our_timeout(error: BaseException, statements: Iterable[Statement]) -> bool:
    """Say whether a statement was cancelled by ``STATEMENT_TIMEOUT``.

    A migration that sets a timeout of its own, in one of its ``statements``, has met with that.
    """
    if not isinstance(error, QueryCanceled):
        return False
    name, given = 'CONFITURE["DRY_RUN"]["STATEMENT_TIMEOUT"]', conf.get("DRY_RUN")
    ours = conf.parse_duration(given["STATEMENT_TIMEOUT"], name=name)
    return bool(ours) and not any(sets_timeout(each, "statement_timeout") for each in statements)


def sets_timeout(statement: Statement, name: str) -> bool:
    """Say whether a statement limits itself or later ones by the setting ``name``; 0 is no limit.

    ``RESET`` and ``SET … TO DEFAULT`` are none either.
    """
    if name not in statement.sql.lower():
        return False
    if statement.node is None or statement.hides_code:
        found = re.compile(_IN_CODE.format(name, _OFF.pattern), re.IGNORECASE)
        return found.search(statement.sql) is not None
    if statement.what == "variable_set_stmt":
        given = statement.node.variable_set_stmt
        values = [_text(each.a_const) for each in given.args]
        return given.kind == pg.VAR_SET_VALUE and given.name == name and _limits(values)
    calls = (each.func_call for each in statement.nodes() if each.WhichOneof("node") == "func_call")
    return any(_configures(call, name) for call in calls)


def _configures(call: Any, name: str) -> bool:
    if call.funcname[-1].string.sval != "set_config" or len(call.args) < 2:
        return False
    setting, value = (_text(each.a_const) for each in call.args[:2])
    return setting == name and _limits([value])


def _limits(values: list[str]) -> bool:
    return any(not _OFF.fullmatch(value.strip()) for value in values)


def _text(constant: Any) -> str:
    """Return a constant as it is written, ``""`` for a parameter or an expression."""
    kind = constant.WhichOneof("val")
    if kind == "sval":
        return str(constant.sval.sval)
    return str(constant.fval.fval if kind == "fval" else constant.ival.ival) if kind else ""
