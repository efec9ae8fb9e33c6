"""The savepoint that stands for the transaction that a real run would be in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.parser import Kind

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement
    from django_confiture.dry_run.transactions.statement_savepoint import StatementSavepoint

_WITHOUT_SNAPSHOT = (Kind.QUIET, Kind.SAVEPOINT, Kind.TRANSACTION)
INNER = "confiture_transaction"


class InnerTransaction:
    """Sets, releases, and goes back to that savepoint."""

    def __init__(self, session: Session, statement_savepoint: StatementSavepoint) -> None:
        self._session = session
        self._statement_savepoint = statement_savepoint
        self._is_open = False
        self._begins_with_next = False
        self._has_sent = False
        self._has_queried = False

    @property
    def is_open(self) -> bool:
        """Whether the savepoint is set."""
        return self._is_open

    @property
    def is_expected(self) -> bool:
        """Whether it is set, or is to be set before the next statement."""
        return self._is_open or self._begins_with_next

    @property
    def begins_with_next(self) -> bool:
        """Whether it is to be set before the next statement, if there is one."""
        return self._begins_with_next

    @property
    def awaits_statement(self) -> bool:
        """Whether nothing was sent in it: the driver begins a transaction with the first."""
        return self._begins_with_next or (self._is_open and not self._has_sent)

    @property
    def has_queried(self) -> bool:
        """Whether one of them took a snapshot, after which no isolation level can be set."""
        return self._has_queried

    def sending(self) -> None:
        """Note that something is about to be sent, be it empty."""
        self._has_sent = self._is_open

    def note(self, statement: Statement) -> None:
        """Note that a statement is about to be sent."""
        if statement.kind not in _WITHOUT_SNAPSHOT and statement.what != "lock_stmt":
            self._has_queried = self._is_open

    @property
    def release(self) -> str:
        """What releases it, ``""`` if it is not set."""
        return f"RELEASE SAVEPOINT {INNER};" if self._is_open else ""

    def open(self) -> bool:
        """Set it; return whether it was not set yet."""
        self._begins_with_next = False
        if self._is_open:
            return False
        first = self._statement_savepoint.out_of_the_way()
        self._session.query(f"{first}SAVEPOINT {INNER}")
        self._is_open, self._has_sent, self._has_queried = True, False, False
        return True

    def open_with_next(self) -> None:
        """Set it when there is something to send: after COMMIT, Django mostly goes on without."""
        self._begins_with_next = True

    def close(self, *, keep: bool, released: bool = False) -> bool:
        """Release it, or undo it unless ``keep``; return whether it was set.

        ``released`` says that it was released in another round trip.
        """
        self._begins_with_next = False
        if not self._is_open:
            return False
        release, self._is_open = self.release, False
        self._statement_savepoint.gone()
        if not released:
            back = "" if keep else f"ROLLBACK TO SAVEPOINT {INNER};"
            self._session.query(back + release)
        return True
