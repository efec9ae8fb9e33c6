"""Protocols between the code that catches statements and the sinks and policies it calls."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.sql.parsing.parser import Statement

DriverGenerator = Generator[Any, Any, Any]
"""The driver's function that waits for the server's answer."""


class StatementSink(Protocol):
    """Receives each statement: a recorder, or a substitute for one."""

    @property
    def autocommit(self) -> bool:
        """Whether the real run would send a statement outside a transaction."""

    def own_work(self) -> AbstractContextManager[None]:
        """Stop the clock inside the block: the work is the dry run's, not the migration's."""

    def measured(
        self,
        statement: Statement,
        cursor: Any,
        *,
        skipped: bool = False,
        plain: bool = False,
        text: Callable[[], str] | None = None,
    ) -> AbstractContextManager[None]:
        """Measure what runs inside.

        ``skipped`` says that nothing is sent in its place, ``plain`` that its plain form is, which
        can run in a transaction; ``text`` returns what is sent, with its parameters in it.
        """

    def note_substituted(self, text: str) -> None:
        """Note why what runs now is rehearsed in another form."""

    def note_not_rehearsed(self, text: str) -> None:
        """Note why something of what runs now is not rehearsed."""


class SendPolicy(Protocol):
    """Decides what is sent for each statement, and how."""

    def text(self, statement: Statement, *, alone: bool) -> str | None:
        """Return the text to send for ``statement``, None where nothing can be sent."""

    def prepare(self, statement: Statement, text: Callable[[], str]) -> None:
        """Do what has to happen before ``statement`` is sent, or in place of it.

        ``text`` returns the statement with its parameters in it.
        """

    def exchange(self, statement: Statement) -> None:
        """Note that the plain form of ``statement`` is sent, or raise its own error."""

    def script(self, cursor: Any, statements: Sequence[Statement]) -> AbstractContextManager[None]:
        """Hold while the statements of one text are sent one by one."""

    def check(self) -> None:
        """Raise where nothing may be sent any more."""

    def check_cursor(self, cursor: psycopg.ServerCursor[Any]) -> None:
        """Raise where the server would not declare this cursor, outside a transaction."""

    def status(self, status: TransactionStatus) -> TransactionStatus:
        """Return the status of the transaction that the driver is to show, for the real one."""

    def end(self, method: str, end: Callable[[], None]) -> None:
        """Handle the driver's ``commit()`` or ``rollback()``; ``end`` calls the original."""

    def command(self, send: Callable[[], DriverGenerator], text: str) -> DriverGenerator:
        """Send what the driver begins and ends transactions with, and sets savepoints with."""

    def attribute(self, check: Callable[[], DriverGenerator], name: str) -> DriverGenerator:
        """Check that an attribute of the driver can be set: it is outside a transaction."""


class Catching(Protocol):
    """What the interceptor asks about one connection; see :class:`.cursors.Capture`."""

    def sending(
        self, method: str, send: Callable[..., Any], cursor: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Handle what a method of a cursor is given."""

    def ending(self, method: str, end: Callable[[], None]) -> None:
        """Handle the driver's ``commit()`` or ``rollback()``."""

    def commanding(self, send: Callable[[], DriverGenerator], command: Any) -> DriverGenerator:
        """Handle what the driver sends by itself."""

    def checking(self, check: Callable[[], DriverGenerator], attribute: str) -> DriverGenerator:
        """Handle what the driver checks before it sets an attribute."""

    def showing(self, status: TransactionStatus) -> TransactionStatus:
        """Return what the driver is to say of the transaction."""

    def has_closed(self, cursor: psycopg.ServerCursor[Any]) -> bool:
        """Return whether the end of a transaction has closed a cursor."""
