"""Statements whose effects no rollback and no clone can hold: they are not sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from psycopg.errors import ActiveSqlTransaction, InvalidTransactionTermination

from django_confiture.dry_run.sql.parsing.nodes import Node, strings
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse
from django_confiture.dry_run.sql.parsing.plpgsql import code_block
from django_confiture.dry_run.sql.parsing.suspects import Suspects

if TYPE_CHECKING:
    import psycopg

_FUNCTION = re.compile(
    r"dblink\w*|lo_export|pg_file_(write|rename|unlink|sync)|pg_(terminate|cancel)_backend"
    r"|pg_reload_conf|pg_rotate_logfile|pg_(create|drop|copy)_\w*replication_slot"
    r"|pg_logical_\w+|pg_replication_\w+|pg_sync_replication_slots"
    r"|pg_stat_reset\w*|pg_stat_statements_reset"
    r"|pg_switch_wal|pg_create_restore_point|pg_promote|pg_wal_replay_\w+"
    r"|pg_backup_\w+|pg_(start|stop)_backup"
)

_SUSPECT = Suspects(
    rf"\b({_FUNCTION.pattern})\b|\b(?:COPY|CHECKPOINT)\b",
    *("dblink", "lo_export", "pg_", "copy", "checkpoint"),
)
"""A tree is only looked into where the text may hold such a thing."""


def why_not_sent(statement: Statement) -> str:
    """Return what would take effect beyond the transaction; ``""`` if nothing would."""
    if not _SUSPECT.search(statement.sql):
        return ""
    if statement.what == "copy_stmt":
        copy = statement.node.copy_stmt
        if copy.is_program:
            return "COPY with a PROGRAM runs it on the server, so it was not sent."
        if copy.filename and not copy.is_from:
            return "COPY TO a file of the server writes it for good, so it was not sent."
    if statement.what == "check_point_stmt":
        return "CHECKPOINT makes the whole server write, so it was not sent."
    names = _called(statement)
    if not names:
        return ""
    return f"{names[0]}() takes effect beyond this transaction, so the statement was not sent."


def _called(statement: Statement) -> list[str]:
    """Return the functions of that sort that it calls, or that strings in its code name."""
    if statement.what == "do_stmt" and (block := code_block(statement.sql)) is not None:
        inside = (each for text in block.sql for each in parse(text, placeholders=False))
        return [
            *(name for each in inside for name in _called(each)),
            *(name for text in block.literals for name in _suspects(text)),
        ]
    if statement.node is None or statement.what == "do_stmt":  # code that no tree shows
        return _suspects(statement.sql)
    names = (
        _function_name(call) for call in statement.function_calls if not _is_transactional(call)
    )
    return [name for name in names if _FUNCTION.fullmatch(name)]


def _suspects(text: str) -> list[str]:
    return [match[1].lower() for match in _SUSPECT.finditer(text) if match[1]]


def _function_name(call: Node) -> str:
    return strings(call.funcname)[-1]


def _is_transactional(call: Node) -> bool:
    """Return whether it is a logical message that a rollback takes back."""
    first = [argument.a_const.boolval.boolval for argument in call.args[:1]]
    return _function_name(call) == "pg_logical_emit_message" and first == [True]


def why_not_rehearsed(statement: Statement, error: psycopg.Error) -> str:
    """Return why the dry run's transaction caused an error of ``statement``; ``""`` if it did not.

    Alone, as it is for real, the statement would not have met with it.
    """
    if isinstance(error, InvalidTransactionTermination):
        return (
            f"{statement.command} ran code that commits by itself; "
            "only a clone of the database can show what it does."
        )
    # Code that is run by a statement can't have it outside a transaction either.
    if isinstance(error, ActiveSqlTransaction) and statement.kind is Kind.DDL:
        return f"{statement.command} can't run inside a transaction."
    return ""
