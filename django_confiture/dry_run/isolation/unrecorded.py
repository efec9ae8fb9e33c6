"""Statements of other connections, which are rehearsed like the first one's but not reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.interception.protocols import DriverGenerator
from django_confiture.dry_run.results.error_classes import is_lock_timeout
from django_confiture.dry_run.server.side_channel import Session, text_of
from django_confiture.dry_run.sql.parsing.nodes import written_name
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse
from django_confiture.dry_run.transactions.observer import TransactionObserver
from django_confiture.dry_run.transactions.on_commit import CallbackObserver
from django_confiture.dry_run.transactions.rehearsed import RehearsedTransactions

_STATEMENT = "confiture_statement"
_LONGEST_WAIT = "5s"
_QUIET = (Kind.SAVEPOINT, Kind.QUIET, Kind.TRANSACTION)


HANGS = (
    "Another connection of this process, to {alias!r}, waited in vain for a lock that the "
    "migration itself holds. For real it waits forever, as PostgreSQL sees no deadlock there. Use "
    "the connection that migrates (schema_editor.connection), or a migration of its own."
)


class CallbacksOnly(TransactionObserver):
    """Passes on which callbacks another connection registered and dropped, and nothing else.

    Its transactions free none of the locks that are measured.
    """

    def __init__(self, callbacks: CallbackObserver) -> None:
        self._callbacks = callbacks

    def callback_registered(self, why: str) -> None:
        self._callbacks.callback_registered(why)

    def callbacks_dropped(self, count: int) -> None:
        self._callbacks.callbacks_dropped(count)


class Unrecorded:
    """The recorder of connections whose statements are not in the report."""

    def __init__(
        self,
        transactions: RehearsedTransactions,
        not_measured: Callable[[], None],
        wrote: Callable[[str, int], None],
        read: Callable[[], None] = lambda: None,
    ) -> None:
        """``not_measured`` is called when a statement may change something, ``read`` when not.

        ``wrote`` is called with a table and how many rows a statement says that it wrote to it.
        """
        self._not_measured = not_measured
        self._wrote = wrote
        self._read = read
        self._transactions = transactions
        self._session = transactions.session

    @property
    def autocommit(self) -> bool:
        """Whether the real run would send a statement outside a transaction."""
        return not self._transactions.in_transaction

    def own_work(self) -> AbstractContextManager[None]:
        """Do nothing: no time is measured here."""
        return nullcontext()

    def note_substituted(self, text: str) -> None:
        """Do nothing: the statement is not in the report."""

    def note_not_rehearsed(self, text: str) -> None:
        """Do nothing: the statement is not in the report."""

    @contextmanager
    def measured(
        self,
        statement: Statement,
        cursor: Any,
        *,
        skipped: bool = False,
        plain: bool = False,  # noqa: ARG002
        text: Callable[[], str] | None = None,  # noqa: ARG002
    ) -> Iterator[None]:
        """Run a statement behind a savepoint if it would be its own transaction."""
        with self._behind_savepoint(statement, skipped=skipped):
            yield
        if (table := _written_table(statement)) and cursor.rowcount > 0:
            self._wrote(table, cursor.rowcount)

    @contextmanager
    def _behind_savepoint(self, statement: Statement, *, skipped: bool) -> Iterator[None]:
        quiet = statement.kind in _QUIET
        if not quiet and statement.kind is not Kind.SELECT:
            self._not_measured()
        elif statement.reads_user_tables:
            self._read()
        usable = self._session.status == TransactionStatus.INTRANS and not self._session.in_pipeline
        if skipped or quiet or not usable or not self.autocommit:
            yield
            return
        self._session.query(f"SAVEPOINT {_STATEMENT}")
        try:
            yield
            self._transactions.check_constraints()
        except BaseException:
            if self._session.status == TransactionStatus.INERROR:
                self._session.query(f"ROLLBACK TO SAVEPOINT {_STATEMENT}")
            raise
        finally:
            if self._session.status == TransactionStatus.INTRANS:
                self._session.query(f"RELEASE SAVEPOINT {_STATEMENT}")
                self._transactions.statement_ended()


@contextmanager
def not_waiting_forever(session: Session) -> Iterator[None]:
    """End waits for locks, which on a clone only the migration itself can hold."""
    if session.value("SHOW lock_timeout") != "0":
        yield
        return
    session.query(f"SET lock_timeout = '{_LONGEST_WAIT}'")
    yield
    with suppress(psycopg.Error):  # it may be closed
        session.query("RESET lock_timeout")


class Overheard:
    """Lets through what another connection to the clone sends, and says where it can change it.

    It stands where the first connection has its :class:`Capture`.
    """

    def __init__(
        self,
        raw: psycopg.Connection[Any],
        not_measured: Callable[[], None],
        waited_in_vain: Callable[[], None],
    ) -> None:
        """``not_measured`` is called when a statement may change something.

        ``waited_in_vain`` is called where ``lock_timeout`` has ended one.
        """
        self._raw = raw
        self._not_measured = not_measured
        self._waited_in_vain = waited_in_vain

    def sending(
        self,
        method: str,
        send: Callable[..., Any],
        cursor: Any,  # noqa: ARG002
        query: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Send a query by one of the cursor's methods."""
        with_parameters = method == "executemany" or bool(args) or bool(kwargs.get("params"))
        statements = parse(text_of(query, self._raw), placeholders=with_parameters)
        if not all(each.kind in (*_QUIET, Kind.SELECT) for each in statements):
            self._not_measured()
        try:
            return send(query, *args, **kwargs)
        except psycopg.Error as error:
            if is_lock_timeout(error):
                self._waited_in_vain()
            raise

    def ending(self, method: str, end: Callable[[], None]) -> None:  # noqa: ARG002
        """Let the driver end its transaction."""
        end()

    def commanding(self, send: Callable[[], DriverGenerator], command: Any) -> DriverGenerator:  # noqa: ARG002
        """Let the driver send what it sends by itself."""
        return send()

    def checking(self, check: Callable[[], DriverGenerator], attribute: str) -> DriverGenerator:  # noqa: ARG002
        """Let the driver check."""
        return check()

    def showing(self, status: TransactionStatus) -> TransactionStatus:
        """Return the status itself."""
        return status

    def has_closed(self, cursor: Any) -> bool:  # noqa: ARG002
        """Return that nothing has closed a cursor but the server."""
        return False


def _written_table(statement: Statement) -> str:
    """Return the table that INSERT, UPDATE, DELETE, MERGE or COPY FROM writes to, else ``""``."""
    writes = statement.what in ("insert_stmt", "update_stmt", "delete_stmt", "merge_stmt")
    if not writes and (statement.what != "copy_stmt" or not statement.node.copy_stmt.is_from):
        return ""
    return written_name(getattr(statement.node, statement.what).relation)
