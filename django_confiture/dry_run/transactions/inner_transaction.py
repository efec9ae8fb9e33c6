"""The savepoint that stands for the transaction that a real run would be in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.transactions.statement_savepoint import StatementSavepoint

INNER = "confiture_transaction"


class InnerTransaction:
    """Sets, releases, and goes back to that savepoint."""

    def __init__(self, session: Session, statement_savepoint: StatementSavepoint) -> None:
        self._session = session
        self._statement_savepoint = statement_savepoint
        self._is_open = False
        self._begins_with_next = False

    @property
    def is_open(self) -> bool:
        """Whether the savepoint is set."""
        return self._is_open

    @property
    def begins_with_next(self) -> bool:
        """Whether it is to be set before the next statement, if there is one."""
        return self._begins_with_next

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
        self._is_open = True
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
