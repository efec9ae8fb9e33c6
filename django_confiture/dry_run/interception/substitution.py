"""The policy in a rolled-back transaction: statements that can't run there get substitutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.errors import (
    ActiveSqlTransaction,
    NoActiveSqlTransaction,
    ObjectNotInPrerequisiteState,
)
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.interception.counting import Counting
from django_confiture.dry_run.interception.detached_partitions import keep_check
from django_confiture.dry_run.interception.protocols import DriverGenerator, StatementSink
from django_confiture.dry_run.server.driver import one_statement_only
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.dry_run.sql.transactions.concurrently import refuse
from django_confiture.dry_run.sql.transactions.transaction_modes import (
    TransactionModes,
    modes_of,
    sets_later_transactions,
)
from django_confiture.dry_run.transactions.session_timeouts import NOT_SET, limits_sessions

if TYPE_CHECKING:
    from django_confiture.dry_run.transactions.rehearsed import RehearsedTransactions

_ENDS_TRANSACTION = (
    "{} was rehearsed with savepoints, as it would end the dry run's transaction. "
    "For real it takes effect there, and the migration is no longer atomic."
)


_NONE_PREPARED = (
    'prepared transactions are disabled\nHINT:  Set "max_prepared_transactions" to a nonzero value.'
)
_PREPARED = (
    "PREPARE TRANSACTION keeps its locks, and its rows from others, until COMMIT PREPARED; here it "
    "was committed."
)
_LATER = "It sets how later transactions begin; here, all run in one that has begun."
_AUTOCOMMIT = (
    "It set the driver's autocommit in an atomic block before the first statement, so for real "
    "each statement of it commits by itself; here, all are in one transaction."
)
_TOO_LATE = "SET TRANSACTION ISOLATION LEVEL must be called before any query"
_LISTENING = {"notify_stmt", "listen_stmt"}
_EXPORT = "pg_export_snapshot"
_NOTIFIES = "Who listens is told at COMMIT, which a dry run does not reach: it notified no one."

_ONLY_IN_TRANSACTION = "{} can only be used in transaction blocks"


class Substitutes:
    """Replaces statements that can't run in a transaction that is rolled back."""

    def __init__(self, recorder: StatementSink, transactions: RehearsedTransactions) -> None:
        self._recorder = recorder
        self._transactions = transactions
        self._counting = Counting(transactions.session)

    def text(self, statement: Statement, *, alone: bool) -> str | None:
        """Return the plain form of what needs to be outside of a transaction, if there is one."""
        self._note_modes(statement)
        if why := self._why_not_sent(statement):
            self._recorder.note_not_rehearsed(why)
            return None
        if statement.kind is Kind.TRANSACTION:
            if statement.commits or statement.rolls_back:
                self._recorder.note_substituted(
                    _ENDS_TRANSACTION.format(f"{statement.command} in SQL")
                )
            return None
        if statement.sets_transaction and modes_of(statement) != TransactionModes(read_only=True):
            return None
        if alone and self._recorder.autocommit:
            return self._text_alone(statement)
        return statement.sql

    def _text_alone(self, statement: Statement) -> str | None:
        """Return what to send of a statement that is outside a transaction for real."""
        if statement.kind is not Kind.SAVEPOINT and (name := statement.only_in_transaction):
            raise NoActiveSqlTransaction(_ONLY_IN_TRANSACTION.format(name))
        if statement.sets_transaction or statement.sets_locally:
            return None  # outside a transaction it changes nothing
        if not statement.outside_transaction:
            return statement.sql
        if statement.plain_sql is not None:
            return statement.plain_sql
        self._recorder.note_not_rehearsed(f"{statement.command} can't run inside a transaction.")
        return None

    def _why_not_sent(self, statement: Statement) -> str:
        """Return what a transaction that is rolled back, or a savepoint, can't have."""
        if name := limits_sessions(statement):
            return NOT_SET.format(name)
        if _EXPORT in statement.sql and _EXPORT in statement.functions_called:
            return f"{_EXPORT}() can't run in a savepoint, so it was not sent."
        return ""

    def _note_modes(self, statement: Statement) -> None:
        """Say what can't be set in a transaction that has begun, or for ones that never begin."""
        if modes_of(statement).others:
            self._recorder.note_not_rehearsed(
                f"{'SET' if statement.sets_transaction else statement.command} TRANSACTION needs a "
                "transaction that has not begun to work; this one has."
            )
        if sets_later_transactions(statement):
            self._recorder.note_not_rehearsed(_LATER)

    def prepare(self, statement: Statement, text: Callable[[], str]) -> None:
        """Do with savepoints what BEGIN, COMMIT or ROLLBACK in SQL would do."""
        if statement.sets_locally and self._recorder.autocommit:
            return  # it is not sent
        if _notifies(statement):
            self._recorder.note_substituted(_NOTIFIES)
        self._refuse_isolation(statement)
        if why := self._counting.why_not_counted(statement, text):
            self._recorder.note_not_rehearsed(why)
        if why := self._transactions.foresee_commit(statement, text):
            self._recorder.note_not_rehearsed(why)
        if statement.kind is Kind.TRANSACTION:
            self._control(statement)
        elif statement.kind is Kind.SAVEPOINT and not self._transactions.in_block:
            name = statement.only_in_transaction
            raise NoActiveSqlTransaction(_ONLY_IN_TRANSACTION.format(name))

    def _refuse_isolation(self, statement: Statement) -> None:
        """Raise what PostgreSQL says to an isolation level that comes after a query."""
        if not statement.sets_transaction or not self._transactions.has_queried:
            return
        level, session = modes_of(statement).isolation, self._transactions.session
        if level and level != session.value("SHOW transaction_isolation"):
            session.abort()
            raise ActiveSqlTransaction(_TOO_LATE)

    def exchange(self, statement: Statement) -> None:
        """Refuse what PostgreSQL does in the plain form only; say that this is sent."""
        refuse(statement, self._transactions.session)
        if why := keep_check(statement, self._transactions.session):
            self._recorder.note_not_rehearsed(why)
        self._recorder.note_substituted(
            "CONCURRENTLY can't run inside a transaction, so its plain form was measured."
        )

    def _control(self, statement: Statement) -> None:
        if self._transactions.session.in_pipeline:
            self._recorder.note_not_rehearsed(f"{statement.command} in a pipeline was left out.")
        elif statement.begins:
            self._transactions.begin_inner(read_only=modes_of(statement).read_only)
        elif statement.prepares:
            self._prepare()
        elif statement.commits or statement.rolls_back:
            self._transactions.end_inner(commit=statement.commits)

    def _prepare(self) -> None:
        """Refuse PREPARE TRANSACTION where the server does; else say what it leaves."""
        if self._transactions.in_block:
            if self._transactions.session.value("SHOW max_prepared_transactions") == "0":
                raise ObjectNotInPrerequisiteState(_NONE_PREPARED)
            self._recorder.note_not_rehearsed(_PREPARED)
        self._transactions.end_inner(commit=True)

    @contextmanager
    def script(self, cursor: Any, statements: Sequence[Statement]) -> Iterator[None]:
        """Rehearse the transaction that a script has; let no COMMIT hide in what is unreadable."""
        with ExitStack() as stack:
            if any(statement.kind is Kind.UNPARSED for statement in statements):
                stack.enter_context(one_statement_only(cursor))
            if len(statements) > 1 and self._recorder.autocommit:
                stack.enter_context(self._transactions.implicit())
            yield

    def check(self) -> None:
        """Refuse to send anything that would take effect."""
        self._transactions.before_sending()

    def check_cursor(self, cursor: psycopg.ServerCursor[Any]) -> None:
        """Raise what PostgreSQL says to a cursor that would end with its own statement."""
        if not cursor.withhold:
            raise NoActiveSqlTransaction(_ONLY_IN_TRANSACTION.format("DECLARE CURSOR"))

    def status(self, status: TransactionStatus) -> TransactionStatus:
        """Return IDLE where the real run would be in no transaction, or has not begun it yet."""
        begun = self._transactions.in_transaction and not self._transactions.awaits_begin
        if status == TransactionStatus.INTRANS and not begun:
            return TransactionStatus.IDLE
        return status

    def end(self, method: str, end: Callable[[], None]) -> None:  # noqa: ARG002
        """Rehearse ``commit()`` and ``rollback()`` of the driver with savepoints."""
        self._recorder.note_substituted(_ENDS_TRANSACTION.format(f"{method}() of the driver"))
        self._transactions.end_inner(commit=method == "commit")

    def command(self, send: Callable[[], DriverGenerator], text: str) -> DriverGenerator:
        """Follow the savepoints of the driver."""
        if self._transactions.awaits_begin:
            self._recorder.note_substituted(_ENDS_TRANSACTION.format("transaction() of the driver"))
        return self._transactions.driver_command(send, text)

    def attribute(self, check: Callable[[], DriverGenerator], name: str) -> DriverGenerator:
        """Let the driver set an attribute where it is in no transaction for real."""
        if self._transactions.in_transaction and not self._transactions.awaits_begin:
            return check()
        if name != "autocommit":
            self._recorder.note_not_rehearsed(_LATER)
        elif self._transactions.awaits_begin:
            self._recorder.note_not_rehearsed(_AUTOCOMMIT)
        return _unchecked()


def _unchecked() -> DriverGenerator:
    yield from ()


def _notifies(statement: Statement) -> bool:
    if statement.what in _LISTENING:
        return True
    return "pg_notify" in statement.sql and "pg_notify" in statement.functions_called
