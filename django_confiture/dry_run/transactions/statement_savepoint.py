"""The savepoint before a statement, set where possible with the answer to the one before.

A guarded statement needs a savepoint right before it. To set it costs a round trip, so the one
that ends the savepoint of the last guarded statement also sets the next. It is used as it is if
nothing was sent meanwhile, else moved. No other savepoint may come inside: those of the migration
are released by name, and would go with ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session

_NAME = "confiture_statement"
_RELEASE = f"RELEASE SAVEPOINT {_NAME};"


class StatementSavepoint:
    """The one savepoint of a connection for statements that may fail."""

    SET = f"SAVEPOINT {_NAME};"
    RELEASE = _RELEASE
    GO_BACK = f"ROLLBACK TO SAVEPOINT {_NAME};"

    def __init__(self, session: Session, *, ahead: bool = True) -> None:
        """Take ``ahead`` where it may be set before the statement is known."""
        self._session = session
        self._ahead = ahead
        self._is_set = False
        self._is_here = False
        """Whether nothing that it would undo was sent since it was set."""

    def sql_before(self) -> str:
        """Return what to send before a guarded statement."""
        if self._is_set and self._is_here:
            return ""
        released = _RELEASE if self._is_set else ""
        self._is_set = True
        return released + self.SET

    def sql_after(self, *, alone: bool) -> str:
        """Return what to send after a guarded statement; ``alone`` says its transaction ends."""
        self._is_set = self._is_here = self._ahead and not alone
        return _RELEASE + (self.SET if self._is_set else "")

    def passed(self) -> None:
        """Note that a statement is sent without its own savepoint."""
        self._is_here = False

    def gone(self) -> None:
        """Note that it was released, or undone with what is around it."""
        self._is_set = self._is_here = False

    def out_of_the_way(self) -> str:
        """Return what to send before another savepoint is set, released or gone back to."""
        usable = self._session.status == TransactionStatus.INTRANS
        release = _RELEASE if self._is_set and usable and not self._session.in_pipeline else ""
        self.gone()
        return release
