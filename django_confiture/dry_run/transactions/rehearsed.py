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
    transaction_methods,
)
from django_confiture.dry_run.server.settings import accepted
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parser import Kind, Statement, parse
from django_confiture.dry_run.transactions.commit_guard import (
    check_commit_guard,
    close_cursors,
    guard_against_commits,
    open_cursors,
)
from django_confiture.dry_run.transactions.connection_state import TakenOver
from django_confiture.dry_run.transactions.observer import TransactionObserver
from django_confiture.dry_run.transactions.on_commit import counting
from django_confiture.dry_run.transactions.session_state import SessionState
from django_confiture.dry_run.transactions.simulated_commit import SimulatedCommit
from django_confiture.exceptions import DryRunRefused, DryRunStopped

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

OUTER = "confiture_dry_run"
INNER = "confiture_transaction"

# ACTIVE: in a pipeline, what was sent has not been answered yet.
_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR, TransactionStatus.ACTIVE)


class RehearsedTransactions:
    """Holds one Django connection inside a transaction that is always rolled back."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        settings: dict[str, str],
        observer: TransactionObserver | None = None,
        clock: Stopwatch | None = None,
    ) -> None:
        """Take as ``clock`` the stopwatch in which the dry run's own work is not counted."""
        wrapper.ensure_connection()
        self._wrapper = wrapper
        self._raw = psycopg_connection(wrapper.connection)
        self._observer = observer or TransactionObserver()
        self._settings = settings
        self.session = Session(self._raw)
        self._nested = False
        self._shared = False
        self._inner_open = False
        self._begun_in_sql = False
        self._simulated_commit = SimulatedCommit(self.session, clock or Stopwatch())
        self.close_asked = False
        """Whether Django wanted to close the connection meanwhile."""

    def subscribe(self, observer: TransactionObserver) -> None:
        """Tell ``observer`` from now on: it can only be made in the transaction."""
        self._observer = observer

    def begin(self, *, shared: bool = False) -> None:
        """Open the transaction, make any COMMIT of it fail, and take Django's connection over.

        ``shared`` says that another instance has opened, and will roll back, the transaction of
        the very same connection.
        """
        self._shared = shared
        if shared:
            self._take_over()
            return
        self.check_usable()
        self._nested = self.session.status == TransactionStatus.INTRANS
        self._cursors_of_caller = open_cursors(self.session)
        self._settings = accepted(self.session, self._settings)
        self._state = SessionState(self.session, nested=self._nested)
        self.session.query(f"SAVEPOINT {OUTER}" if self._nested else "BEGIN READ WRITE")
        self._take_over()
        try:
            guard_against_commits(self.session)
            self.assert_settings()
        except BaseException:
            self.end()
            raise

    def check_usable(self) -> None:
        """Refuse to begin on a connection whose transaction is broken."""
        status = self.session.status
        if status not in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
            raise DryRunRefused(
                f"The connection to {self._wrapper.alias!r} is in a broken transaction "
                f"({status.name}); roll it back first."
            )

    def assert_settings(self) -> None:
        """Set the timeouts again: a migration may have set its own for the session."""
        calls = (
            f"set_config(${2 * i + 1}, ${2 * i + 2}, true)" for i in range(len(self._settings))
        )
        pairs = [each for setting in self._settings.items() for each in setting]
        self.session.query(f"SELECT {', '.join(calls)}", pairs)
        self._simulated_commit.settings_changed()

    def _take_over(self) -> None:
        self._taken = TakenOver(
            self._wrapper,
            {
                **transaction_methods(
                    self._autocommit_is_set, self._django_commits, self._django_rolls_back
                ),
                "close": self._close,
                **counting(self._wrapper, self._dropped),
            },
        )

    def end(self) -> None:
        """Roll everything back and give the connection back as it was."""
        try:
            if not self._shared:
                self._roll_back_outer()
        finally:
            self._taken.give_back()

    def _roll_back_outer(self) -> None:
        try:
            if self._nested:
                self.session.query(f"ROLLBACK TO SAVEPOINT {OUTER}")
                self.session.query(f"RELEASE SAVEPOINT {OUTER}")
            else:
                self.session.query("ROLLBACK")
            self._state.restore()
        except psycopg.Error:
            self._raw.close()  # the server rolls back when the connection is gone
            self._wrapper.connection = None

    def check_intact(self) -> None:
        """Refuse to go on when the server is no longer in the transaction we opened."""
        if self.session.status in _OPEN:
            return
        if self.session.status == TransactionStatus.UNKNOWN:
            raise DryRunStopped("The connection to the database was lost, so the dry run stopped.")
        raise DryRunRefused(
            "The transaction that was to be rolled back has ended, so the dry run stopped; "
            "a statement committed or rolled back."
        )

    def check_not_ended(self) -> None:
        """Refuse to send a statement that would take effect: the transaction is over."""
        if self.session.status == TransactionStatus.IDLE:
            self.check_intact()

    def check_commit_guard(self) -> None:
        """Refuse to go on when the guard against commits was closed."""
        check_commit_guard(self.session)

    def close_cursors(self) -> None:
        """Close what a migration has left open, as its COMMIT would."""
        kept = {*self._cursors_of_caller, *self._simulated_commit.held_cursors}
        close_cursors(self.session, except_for=kept)

    @property
    def in_transaction(self) -> bool:
        """Whether the real run would be in a transaction, however it was begun."""
        return self._inner_open or in_transaction_block(self._raw)

    @contextmanager
    def implicit(self) -> Iterator[None]:
        """Rehearse the transaction that PostgreSQL makes of a script sent outside of one."""
        self._open_inner()
        try:
            yield
            if self._inner_open and not self._begun_in_sql:
                self.end_inner(commit=True)
        except BaseException:
            if self._inner_open:
                self.end_inner(commit=False)
            raise

    # What the driver's own transaction() sends.

    def driver_command(
        self, send: Callable[[], Generator[Any, Any, Any]], text: str
    ) -> Generator[Any, Any, Any]:
        """Send what the driver sends past its cursors."""
        statements = parse(text, placeholders=False)
        savepoints = [each for each in statements if each.kind is Kind.SAVEPOINT]
        # For real it would be the BEGIN, COMMIT or ROLLBACK of a transaction.
        outermost = savepoints and not self.in_transaction
        if outermost and savepoints[0].command == "RELEASE":
            self._commit_of_driver(savepoints[0])
        result = yield from send()
        for each in savepoints:
            self._observer.savepoint(each)
        if outermost:
            self.statement_ended()
        return result

    def _commit_of_driver(self, release: Statement) -> None:
        try:
            self.check_constraints()
        except psycopg.Error:
            name = release.sql.removeprefix("RELEASE")
            self.session.query(f"ROLLBACK TO {name}; RELEASE {name}")
            self.statement_ended()
            raise

    # What Django calls on its connection, from here on.

    def _autocommit_is_set(self, autocommit: bool) -> None:  # noqa: FBT001 - Django's signature
        with self._wrapper.wrap_database_errors:
            if autocommit:
                self._close_inner(keep=self.session.status == TransactionStatus.INTRANS)
            else:
                self._open_inner()

    def _django_commits(self) -> None:
        if self.session.status == TransactionStatus.INERROR:
            self._django_rolls_back()  # as the server does with a COMMIT of a failed transaction
            return
        with self._wrapper.wrap_database_errors:
            self._end_inner(keep=True, checked_ms=self.check_constraints())

    def _django_rolls_back(self) -> None:
        with self._wrapper.wrap_database_errors:
            self._end_inner(keep=False)

    def _end_inner(self, *, keep: bool, checked_ms: float = 0.0) -> None:
        self._close_inner(keep=keep)
        self._observer.transaction_ended(checked_ms, kept=keep)
        if not self._wrapper.autocommit:
            self._open_inner()

    def begin_inner(self) -> None:
        """Begin a rehearsed transaction past Django, as BEGIN in SQL does."""
        self._open_inner()
        self._begun_in_sql = True

    def end_inner(self, *, commit: bool) -> None:
        """End the rehearsed transaction past Django, as COMMIT or ROLLBACK in SQL does."""
        keep = commit and self.session.status == TransactionStatus.INTRANS
        checked_ms = self.check_constraints() if keep else 0.0
        self._end_inner(keep=keep, checked_ms=checked_ms)

    def statement_ended(self) -> None:
        """End the transaction that a single statement has for itself."""
        self._simulated_commit.ended(kept=True)
        self._observer.transaction_ended()

    def _close(self) -> None:
        """Stay connected: a migration that closes its connection would end our transaction."""
        self.close_asked = True

    def _dropped(self, count: int) -> None:
        self._observer.callbacks_dropped(count)

    def check_constraints(self) -> float:
        """Check what COMMIT would check, and return the milliseconds that this took."""
        return self._simulated_commit.check_constraints(self._observer.commit_failed)

    def _open_inner(self) -> None:
        if not self._inner_open:
            self.session.query(f"SAVEPOINT {INNER}")
            self._inner_open = True
            self._observer.transaction_begun()

    def _close_inner(self, *, keep: bool) -> None:
        if not self._inner_open:
            return
        self._inner_open = self._begun_in_sql = False
        if not keep:
            self.session.query(f"ROLLBACK TO SAVEPOINT {INNER}")
        self.session.query(f"RELEASE SAVEPOINT {INNER}")
        self._simulated_commit.ended(kept=keep)

    def before(self, statement: Statement, text: Callable[[], str]) -> str:
        """Note what a statement leaves to do for the COMMIT; return what of it can't be seen."""
        return self._simulated_commit.before(statement, text)
