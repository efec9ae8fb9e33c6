"""The policy on a clone: everything is sent as written, unless it changes the whole server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.interception.counting import Counting
from django_confiture.dry_run.interception.protocols import DriverGenerator, StatementSink
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement

if TYPE_CHECKING:
    from django_confiture.dry_run.transactions.real import RealTransactions


class Passthrough:
    """Sends everything as written."""

    def __init__(self, recorder: StatementSink, transactions: RealTransactions) -> None:
        self._recorder = recorder
        self._transactions = transactions
        self._counting = Counting(transactions.session)

    def text(self, statement: Statement, *, alone: bool) -> str | None:
        """Return the text itself; None for what would reach beyond the clone."""
        if alone and statement.of_the_server and not self._transactions.in_transaction:
            self._recorder.note_not_rehearsed(
                f"{statement.command} would change the server, not the clone."
            )
            return None
        return statement.sql

    def prepare(self, statement: Statement, text: Callable[[], str]) -> None:
        """Say where the server will not count what comes; everything is sent as written."""
        if why := self._counting.why_not_counted(statement, text):
            self._recorder.note_not_rehearsed(why)

    def exchange(self, statement: Statement) -> None:
        """Do nothing: no plain form is sent."""

    @contextmanager
    def script(self, cursor: Any, statements: Sequence[Statement]) -> Iterator[None]:  # noqa: ARG002
        """Let a script be one transaction, as it is for PostgreSQL."""
        readable = all(each.kind is not Kind.UNPARSED for each in statements)
        if len(statements) < 2 or not readable:
            yield
            return
        with self._transactions.script():
            yield

    def check(self) -> None:
        """Do nothing: every transaction is the migration's own."""

    def check_cursor(self, cursor: psycopg.ServerCursor[Any]) -> None:
        """Do nothing: the server refuses what it does not declare."""

    def status(self, status: TransactionStatus) -> TransactionStatus:
        """Return the status itself: the transaction is the migration's own."""
        return status

    def end(self, method: str, end: Callable[[], None]) -> None:  # noqa: ARG002
        """Let the driver end it; its COMMIT or ROLLBACK is caught as a command."""
        end()

    def command(self, send: Callable[[], DriverGenerator], text: str) -> DriverGenerator:
        """Notice what the driver begins and ends by itself."""
        return self._transactions.driver_command(send, text)

    def attribute(self, check: Callable[[], DriverGenerator], name: str) -> DriverGenerator:  # noqa: ARG002
        """Let the driver check: the transaction is the migration's own."""
        return check()
