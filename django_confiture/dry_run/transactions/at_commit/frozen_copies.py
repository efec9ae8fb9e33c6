"""``COPY … WITH (FREEZE)``: PostgreSQL refuses it while a cursor is open, and the guard is one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from psycopg.errors import InvalidTransactionState

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parsing.parser import Statement

NOT_FROZEN = (
    "COPY … WITH (FREEZE) can't run in a dry run, whose guard against commits is an open cursor. "
    "It stopped there; a real run goes on: --clone rehearses it, or leave FREEZE out."
)


def is_refused_here_alone(error: BaseException, together: Iterable[Statement]) -> bool:
    """Return whether a COPY was refused only since a dry run has a cursor open.

    ``together`` are the statements of the real run's transaction that met with the error. For
    real, one of them has to make or truncate the table.
    """
    if not isinstance(error, InvalidTransactionState):
        return False
    fresh: set[str] = set()
    copied = ""
    for each in together:
        if each.what == "copy_stmt" and _freezes(each):
            copied = each.node.copy_stmt.relation.relname
        elif each.what in ("create_stmt", "create_table_as_stmt", "truncate_stmt"):
            fresh.update(relation.relname for relation in each.relations)
    return copied in fresh


def _freezes(statement: Statement) -> bool:
    options = statement.node.copy_stmt.options
    return any(each.def_elem.defname.lower() == "freeze" for each in options)
