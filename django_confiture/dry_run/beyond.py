"""Statements whose effects no rollback and no copy can hold: they are not sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_confiture.dry_run.statements import Statement

_FUNCTION = re.compile(
    r"dblink\w*|lo_export|pg_file_(write|rename|unlink|sync)|pg_(terminate|cancel)_backend"
    r"|pg_reload_conf|pg_rotate_logfile|pg_(create|drop|copy)_\w*replication_slot"
)

_SUSPECT = re.compile(rf"\b({_FUNCTION.pattern})\b|^\s*COPY\b", re.IGNORECASE)
"""A tree is only looked into where the text may hold such a thing."""


def why_not_sent(statement: Statement) -> str:
    """Say what would take effect beyond the transaction; ``""`` where nothing would."""
    if not _SUSPECT.search(statement.sql):
        return ""
    if statement.what == "copy_stmt":
        copy = statement.node.copy_stmt
        if copy.is_program:
            return "COPY with a PROGRAM runs it on the server, so it was not sent."
        if copy.filename and not copy.is_from:
            return "COPY TO a file of the server writes it for good, so it was not sent."
    names = _called(statement)
    if not names:
        return ""
    return f"{names[0]}() takes effect beyond this transaction, so the statement was not sent."


def _called(statement: Statement) -> list[str]:
    if statement.node is None or statement.what == "do_stmt":  # code that no tree shows
        return [match[1].lower() for match in _SUSPECT.finditer(statement.sql) if match[1]]
    calls = (each.func_call for each in statement.nodes() if each.WhichOneof("node") == "func_call")
    names = (call.funcname[-1].string.sval for call in calls)
    return [name for name in names if _FUNCTION.fullmatch(name)]
