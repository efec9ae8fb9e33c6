"""Protocols of observers that are notified when transactions begin and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import psycopg

    from django_confiture.dry_run.sql.parsing.parser import Statement


class TransactionObserver:
    """Is notified when a rehearsed transaction begins and ends, and of dropped callbacks."""

    def transaction_begun(self) -> None:
        """After a rehearsed BEGIN."""

    def transaction_ended(self, checked_ms: float = 0.0, *, kept: bool = True) -> None:
        """After a rehearsed COMMIT, or ROLLBACK if not ``kept``: its locks would be free now.

        ``checked_ms`` is how long the deferred constraints took.
        """

    def commit_failed(self, error: psycopg.Error) -> None:
        """The deferred constraints don't hold; the transaction is usable while this is called."""

    def callback_registered(self, why: str) -> None:
        """A migration has registered a callback for its COMMIT, so it is not exact: why."""

    def callbacks_dropped(self, count: int) -> None:
        """``on_commit`` callbacks that a real run would have called now."""

    def savepoint(self, statement: Statement) -> None:
        """The driver has set, released, or gone back to a savepoint."""

    def close_left_out(self, *, has_settings: bool) -> None:
        """The migration has closed its connection, which stays open.

        ``has_settings`` says that it has set some for as long as the session lasts.
        """


class RealTransactionObserver(Protocol):
    """Is notified when a real transaction begins and ends."""

    def transaction_begun(self) -> None:
        """The server has answered BEGIN."""

    def transaction_ending(self) -> None:
        """COMMIT or ROLLBACK is about to be sent; the transaction is still usable."""

    def transaction_over(self, *, committed: bool, checked_ms: float) -> None:
        """The transaction has ended; ``checked_ms`` is how long the deferred constraints took."""

    def commit_failed(self, error: psycopg.Error) -> None:
        """The deferred constraints don't hold; the transaction is usable while this is called."""

    def callback_registered(self, why: str) -> None:
        """A migration has registered a callback for its COMMIT, so it is not exact: why."""

    def callbacks_dropped(self, count: int) -> None:
        """``on_commit`` callbacks that a real run would have called now."""

    def savepoint(self, statement: Statement) -> None:
        """The driver has set, released, or gone back to a savepoint."""
