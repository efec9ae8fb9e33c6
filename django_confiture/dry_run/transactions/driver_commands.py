"""Rehearses what the driver's own ``transaction()`` sends past its cursors."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol

import psycopg

from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.stopwatch import Stopwatch
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.transactions.observer import TransactionObserver
    from django_confiture.dry_run.transactions.statement_savepoint import StatementSavepoint


class CommandedTransactions(Protocol):
    """The rehearsed transactions, as far as a command of the driver concerns them."""

    session: Session
    statement_savepoint: StatementSavepoint

    @property
    def in_transaction(self) -> bool:
        """Whether the real run would be in a transaction."""

    def check_constraints(self) -> float:
        """Check what COMMIT would check, and return the milliseconds that this took."""

    def statement_ended(self) -> None:
        """End the transaction that a single statement has for itself."""


def rehearsed_command(
    transactions: CommandedTransactions,
    observer: TransactionObserver,
    clock: Stopwatch,
    send: Callable[[], Generator[Any, Any, Any]],
    text: str,
) -> Generator[Any, Any, Any]:
    """Send a command of the driver; its outermost savepoint is a transaction for real."""
    statements = parse(text, placeholders=False)
    savepoints = [each for each in statements if each.kind is Kind.SAVEPOINT]
    if savepoints and (first := transactions.statement_savepoint.out_of_the_way()):
        with clock.stopped():
            transactions.session.query(first)
    # For real it would be the BEGIN, COMMIT or ROLLBACK of a transaction.
    outermost = savepoints and not transactions.in_transaction
    if outermost and savepoints[0].command == "RELEASE":
        _check(transactions, savepoints[0])
    result = yield from send()
    for each in savepoints:
        observer.savepoint(each)
    if outermost:
        transactions.statement_ended()
    return result


def _check(transactions: CommandedTransactions, release: Statement) -> None:
    """Check what the COMMIT would check, and roll back where it would."""
    try:
        transactions.check_constraints()
    except psycopg.Error:
        name = release.sql.removeprefix("RELEASE")
        transactions.session.query(f"ROLLBACK TO {name}; RELEASE {name}")
        transactions.statement_ended()
        raise
