"""What BEGIN, SET TRANSACTION and SET say of the modes of transactions: isolation, read only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parsing.nodes import Node
    from django_confiture.dry_run.sql.parsing.parser import Statement

_READ_ONLY = "transaction_read_only"
_ISOLATION = "transaction_isolation"
_DEFAULTS = ("default_transaction_read_only", "default_transaction_isolation")


@dataclass(frozen=True)
class TransactionModes:
    """The modes that a statement gives to its transaction."""

    read_only: bool = False
    others: bool = False
    """Whether it says more: an isolation level, DEFERRABLE, a snapshot."""
    isolation: str = ""
    """The level, as PostgreSQL shows it; ``""`` if it names none."""


def modes_of(statement: Statement) -> TransactionModes:
    """Return the modes that BEGIN or SET TRANSACTION names."""
    if statement.begins:
        return _modes(statement.node.transaction_stmt.options)
    if not statement.sets_transaction:
        return TransactionModes()
    modes = _modes(statement.node.variable_set_stmt.args)
    is_snapshot = statement.node.variable_set_stmt.name == "TRANSACTION SNAPSHOT"
    return replace(modes, others=modes.others or is_snapshot)


def _modes(options: Iterable[Node]) -> TransactionModes:
    named = [each.def_elem for each in options if each.HasField("def_elem")]
    read_only = any(
        each.defname == _READ_ONLY and bool(each.arg.a_const.ival.ival) for each in named
    )
    levels = (each.arg.a_const.sval.sval for each in named if each.defname == _ISOLATION)
    others = any(each.defname != _READ_ONLY for each in named)
    return TransactionModes(read_only, others, next(levels, "").lower())


def sets_later_transactions(statement: Statement) -> bool:
    """Return whether it says how all later transactions of the session begin."""
    if statement.what != "variable_set_stmt":
        return False
    setting = statement.node.variable_set_stmt
    if setting.name == "SESSION CHARACTERISTICS":
        return True
    return setting.name in _DEFAULTS and not setting.is_local
