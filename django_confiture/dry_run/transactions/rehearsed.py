"""Transactions inside the one that is rolled back.

Django is told that its connection is in autocommit mode, while the server is in our
transaction. What Django then does to begin, commit and roll back arrives at four methods of the
connection, which are shadowed on the instance: BEGIN becomes a savepoint, COMMIT the check of the
deferred constraints and the savepoint's release. So ``atomic``, ``durable``, non-atomic
migrations, ``set_autocommit`` and swallowed errors behave as they do for real, without a word of
Django's changed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.stopwatch import Stopwatch
from django_confiture.dry_run.server.driver import (
    in_transaction_block,
    psycopg_connection,
    show_autocommit,
    transaction_methods,
)
from django_confiture.dry_run.server.settings import measuring
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.transactions.closing import ClosedInBlock
from django_confiture.dry_run.transactions.commit_guard import guard_against_commits
from django_confiture.dry_run.transactions.connection_state import TakenOver
from django_confiture.dry_run.transactions.driver_commands import rehearsed_command
from django_confiture.dry_run.transactions.inner_transaction import InnerTransaction
from django_confiture.dry_run.transactions.migration_ends import MigrationEnds
from django_confiture.dry_run.transactions.observer import TransactionObserver
from django_confiture.dry_run.transactions.on_commit import counting
from django_confiture.dry_run.transactions.outer_transaction import OuterTransaction
from django_confiture.dry_run.transactions.session_timeouts import SessionTimeouts
from django_confiture.dry_run.transactions.simulated_commit import SimulatedCommit
from django_confiture.dry_run.transactions.statement_savepoint import StatementSavepoint

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_confiture.dry_run.sql.parsing.parser import Statement

_BEGUN = "can't change 'autocommit' now: connection in transaction status INTRANS"


class RehearsedTransactions:
    """Holds one Django connection inside a transaction that is always rolled back."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        settings: dict[str, str],
        observer: TransactionObserver | None = None,
        clock: Stopwatch | None = None,
        statement_savepoint: StatementSavepoint | None = None,
    ) -> None:
        """``clock`` is the stopwatch that leaves the dry run's own work out.

        ``statement_savepoint`` belongs to the instance with which it shares a connection.
        """
        wrapper.ensure_connection()
        self._wrapper = wrapper
        self._raw = psycopg_connection(wrapper.connection)
        self._observer = observer or TransactionObserver()
        self._closed = ClosedInBlock(wrapper)
        self._settings = settings
        self.session = Session(self._raw)
        self.statement_savepoint = statement_savepoint or StatementSavepoint(self.session)
        self._outer = OuterTransaction(self.session)
        self._shared = False
        self._inner = InnerTransaction(self.session, self.statement_savepoint)
        self._begun_in_sql = self._of_script = False
        """Whether the transaction is the one that PostgreSQL makes of a script."""
        self._clock = clock or Stopwatch()
        self._simulated_commit = SimulatedCommit(self.session, self._clock)
        self.timeouts = SessionTimeouts(self.session, self._clock)
        self.close_asked = False
        """Whether Django wanted to close the connection meanwhile."""

    def subscribe(self, observer: TransactionObserver) -> None:
        """Notify ``observer`` from now on: it can only be made in the transaction."""
        self._observer = observer

    def begin(self, *, shared: bool = False) -> None:
        """Open the transaction, make any COMMIT of it fail, and take Django's connection over.

        ``shared`` says that another instance has opened, and will roll back, the transaction of
        the very same connection.
        """
        self._shared = shared
        self._autocommit = self._raw.autocommit
        if shared:
            self._take_over()
            return
        self.check_usable()
        self.timeouts.read()
        self._settings = {**measuring(self.session, self._settings), **self.timeouts.switched_off}
        self._outer.begin()
        self._take_over()
        try:
            guard_against_commits(self.session)
            self.ends = MigrationEnds(self.session, self._settings, self._simulated_commit)
            self.ends.start()
        except BaseException:
            self.end()
            raise

    def _take_over(self) -> None:
        self._taken = TakenOver(
            self._wrapper,
            {
                **transaction_methods(
                    self._autocommit_is_set, self._django_commits, self._django_rolls_back
                ),
                "close": self._close,
                "connect": self._reconnect,
                **counting(self._wrapper, self),
            },
        )

    def end(self) -> None:
        """Roll everything back and give the connection back as it was."""
        self._closed.reopen()
        try:
            if not self._shared:
                show_autocommit(self._raw, autocommit=self._autocommit)
                if not self._outer.roll_back():
                    self._raw.close()  # the server rolls back when the connection is gone
                    self._wrapper.connection = None
        finally:
            self._taken.give_back()

    def check_usable(self) -> None:
        """Refuse to begin on a connection whose transaction is broken."""
        self._outer.check_usable(self._wrapper.alias)

    def check_intact(self) -> None:
        """Refuse to go on when the server is no longer in the transaction we opened."""
        self._outer.check_intact()

    def before_sending(self) -> None:
        """Begin the transaction that Django, or the driver, would begin with what is sent now."""
        self._outer.check_not_ended()
        self._closed.check()
        self.timeouts.check()
        if self._inner.begins_with_next or not self._raw.autocommit:
            self._open_inner()
        self._inner.sending()

    @property
    def in_transaction(self) -> bool:
        """Whether the real run would be in a transaction, however it was begun."""
        return self._inner.is_expected or in_transaction_block(self._raw)

    @property
    def awaits_begin(self) -> bool:
        """Whether Django has begun it, and the driver has not: it does with the first statement."""
        return not self._begun_in_sql and self._inner.awaits_statement

    @property
    def has_queried(self) -> bool:
        """Whether it is too late to set its isolation level."""
        return self._inner.has_queried

    @property
    def in_block(self) -> bool:
        """Whether it would be in one that was begun, not in that of a script alone."""
        return self.in_transaction and (self._begun_in_sql or not self._of_script)

    @contextmanager
    def implicit(self) -> Iterator[None]:
        """Rehearse the transaction that PostgreSQL makes of a script sent outside of one."""
        self._open_inner()
        self._of_script = True
        try:
            yield
            if self._inner.is_open and not self._begun_in_sql:
                self.end_inner(commit=True)
        except BaseException:
            if self._inner.is_open:
                self.end_inner(commit=False)
            raise
        finally:
            self._of_script = False

    # What the driver's own transaction() sends.

    def driver_command(
        self, send: Callable[[], Generator[Any, Any, Any]], text: str
    ) -> Generator[Any, Any, Any]:
        """Send what the driver sends past its cursors."""
        if self._inner.begins_with_next:
            self._open_inner()
        return (yield from rehearsed_command(self, self._observer, self._clock, send, text))

    # What Django calls on its connection, from here on.

    def _autocommit_is_set(self, autocommit: bool) -> None:  # noqa: FBT001 - Django's signature
        with self._wrapper.wrap_database_errors:
            if self._begun_in_sql and self._wrapper.autocommit:
                raise psycopg.ProgrammingError(_BEGUN)  # as the driver does
            if autocommit:
                self._close_inner(keep=self.session.status == TransactionStatus.INTRANS)
            else:
                self._open_inner()
            if not self._shared:
                show_autocommit(self._raw, autocommit)

    def _django_commits(self) -> None:
        if self.session.status == TransactionStatus.INERROR:
            self._django_rolls_back()  # as the server does with a COMMIT of a failed transaction
            return
        with self._wrapper.wrap_database_errors:
            self._commit_inner()

    def _django_rolls_back(self) -> None:
        self.timeouts.reconnected()  # of a session that has ended, Django closes the connection
        with self._wrapper.wrap_database_errors:
            self._end_inner(keep=False)

    def _commit_inner(self) -> None:
        """Check what COMMIT would check, and release the savepoint in the same round trip."""
        self.timeouts.check()
        checked_ms = self._simulated_commit.check_constraints(
            self._observer.commit_failed, self._inner.release
        )
        self._end_inner(keep=True, checked_ms=checked_ms, released=True)

    def _end_inner(self, *, keep: bool, checked_ms: float = 0.0, released: bool = False) -> None:
        self._close_inner(keep=keep, released=released)
        self._observer.transaction_ended(checked_ms, kept=keep)
        if not self._wrapper.autocommit:
            if self._shared:  # its statements are caught by the other instance
                self._open_inner()
            else:
                self._inner.open_with_next()

    def begin_inner(self, *, read_only: bool = False) -> None:
        """Begin a rehearsed transaction past Django, as BEGIN in SQL does."""
        self._open_inner()
        self._begun_in_sql = True
        if read_only:
            self.session.query("SET TRANSACTION READ ONLY")  # until the savepoint ends

    def end_inner(self, *, commit: bool) -> None:
        """End the rehearsed transaction past Django, as COMMIT or ROLLBACK in SQL does."""
        if commit and self.session.status == TransactionStatus.INTRANS:
            self._commit_inner()
        else:
            self._end_inner(keep=False)

    def statement_ended(self) -> None:
        """End the transaction that a single statement has for itself."""
        self._simulated_commit.ended(kept=True)
        self._observer.transaction_ended()

    def _close(self) -> None:
        """Stay connected: a migration that closes its connection would end our transaction."""
        if self._wrapper.in_atomic_block:
            self._closed.close()
            return
        self.timeouts.reconnected()
        self.close_asked = True
        self._observer.close_left_out(has_settings=self._simulated_commit.left_settings)

    def _reconnect(self) -> None:
        """Go on with the connection that was not closed."""
        was_closed = self._wrapper.closed_in_transaction  # Django's connect() forgets the block
        if self._closed.reopen() or was_closed:
            self._end_inner(keep=False)
            self._taken.reset()

    def callback_registered(self, why: str) -> None:
        self._observer.callback_registered(why)

    def callbacks_dropped(self, count: int) -> None:
        self._observer.callbacks_dropped(count)

    def check_constraints(self) -> float:
        """Check what COMMIT would check, and return the milliseconds that this took."""
        return self._simulated_commit.check_constraints(self._observer.commit_failed)

    def _open_inner(self) -> None:
        if self._inner.open():
            self._observer.transaction_begun()

    def _close_inner(self, *, keep: bool, released: bool = False) -> None:
        if self._inner.close(keep=keep, released=released):
            self._begun_in_sql = False
            self._simulated_commit.ended(kept=keep)

    def foresee_commit(self, statement: Statement, text: Callable[[], str]) -> str:
        """Note what the COMMIT of a statement has to do; return why some of it can't be seen."""
        self._inner.note(statement)
        return self._simulated_commit.foresee(statement, text)
