"""The transaction that is rolled back: the dry run's own, or a savepoint in that of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.transactions.session_state import SessionState
from django_confiture.exceptions import DryRunRefused, DryRunStopped

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session

OUTER = "confiture_dry_run"

# ACTIVE: in a pipeline, what was sent has not been answered yet.
_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR, TransactionStatus.ACTIVE)


class OuterTransaction:
    """Begins it, rolls it back, and notices when something else has ended it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._nested = False

    def check_usable(self, alias: str) -> None:
        """Refuse to begin on a connection whose transaction is broken."""
        status = self._session.status
        if status not in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
            raise DryRunRefused(
                f"The connection to {alias!r} is in a broken transaction "
                f"({status.name}); roll it back first."
            )

    def begin(self) -> None:
        """Begin, behind what is open already."""
        self._nested = self._session.status == TransactionStatus.INTRANS
        self._state = SessionState(self._session, nested=self._nested)
        self._session.query(f"SAVEPOINT {OUTER}" if self._nested else "BEGIN READ WRITE")

    def roll_back(self) -> bool:
        """Roll back; return whether the session could do that."""
        try:
            if self._nested:
                self._session.query(f"ROLLBACK TO SAVEPOINT {OUTER}")
                self._session.query(f"RELEASE SAVEPOINT {OUTER}")
            else:
                self._session.query("ROLLBACK")
            self._state.restore()
        except psycopg.Error:
            return False
        return True

    def check_intact(self) -> None:
        """Refuse to go on when the server is no longer in that transaction."""
        if self._session.status in _OPEN:
            return
        if self._session.status == TransactionStatus.UNKNOWN:
            raise DryRunStopped("The connection to the database was lost, so the dry run stopped.")
        raise DryRunRefused(
            "The transaction that was to be rolled back has ended, so the dry run stopped; "
            "a statement committed or rolled back."
        )

    def check_not_ended(self) -> None:
        """Refuse to send a statement that would take effect: the transaction is over."""
        if self._session.status == TransactionStatus.IDLE:
            self.check_intact()
