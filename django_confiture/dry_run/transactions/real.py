"""Real transactions, on a clone: BEGIN, COMMIT and ROLLBACK are real here.

Nothing is exchanged. What remains to do is to notice where each transaction ends, in whatever way
it does, since PostgreSQL's counters and locks are those of one transaction; to keep ``on_commit``
callbacks from being called; and to stop a commit that would reach beyond the clone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.stopwatch import Stopwatch
from django_confiture.dry_run.server.driver import (
    begin_command,
    psycopg_connection,
    told_of_endings,
)
from django_confiture.dry_run.server.settings import measuring
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse
from django_confiture.dry_run.transactions.observer import RealTransactionObserver
from django_confiture.dry_run.transactions.on_commit import uncalled
from django_confiture.dry_run.transactions.session_timeouts import SessionTimeouts
from django_confiture.exceptions import DryRunRefused, DryRunStopped
from django_confiture.hooks.deferred_sql import CHECK_CONSTRAINTS
from django_confiture.postgres import POSTGRESQL_15

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_CHECK = "confiture_check"

# Catalogs that all databases of a server share, and tables whose rows are on another one.
_BEYOND = f"""\
SAVEPOINT {_CHECK}; {CHECK_CONSTRAINTS}; RELEASE SAVEPOINT {_CHECK};
SELECT extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000, (
 SELECT string_agg(what, ', ') FROM (
  SELECT c.relname::text AS what FROM pg_catalog.pg_class c
  WHERE c.relisshared AND c.relkind = 'r' AND c.relname <> 'pg_shdepend'
    AND pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
      + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
      + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) > 0
  UNION
  SELECT 'the foreign table ' || c.relname FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_class c ON c.oid = l.relation
  WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
    AND l.database <> 0 AND c.relkind = 'f'
) beyond)
"""

_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


class RealTransactions:
    """Watches the transactions of one Django connection, which are its own."""

    def __init__(
        self, wrapper: BaseDatabaseWrapper, settings: dict[str, str], clock: Stopwatch
    ) -> None:
        """``clock`` is the stopwatch that leaves the dry run's own work out."""
        wrapper.ensure_connection()
        self._wrapper = wrapper
        self._raw = psycopg_connection(wrapper.connection)
        self._settings = settings
        self.session = Session(self._raw)
        self.flushes = self._raw.info.server_version >= POSTGRESQL_15
        """Whether the session can be told to hand its counters over."""
        self._observer: RealTransactionObserver | None = None
        self._clock = clock
        self.timeouts = SessionTimeouts(self.session, clock)
        """Those of idle sessions: the server would count the dry run's own work as idle."""
        self._implicit = False
        """Whether the transaction is the one that PostgreSQL makes of a script."""
        self._in_script = False
        self._checked_ms = 0.0
        """How long the deferred constraints took of the transaction that is about to end."""

    @contextmanager
    def taken_over(self) -> Iterator[None]:
        """Keep Django connected, with the timeouts of a dry run, until the end."""
        self.timeouts.read()
        settings = {**measuring(self.session, self._settings), **self.timeouts.switched_off}
        for name, value in settings.items():
            self.session.query("SELECT set_config($1, $2, false)", [name, value])
        self.flush()
        try:
            with (
                told_of_endings(self._wrapper, self.timeouts.reconnected),
                uncalled(self._wrapper, self),
            ):
                yield
        finally:
            with suppress(psycopg.Error):
                if self.session.status != TransactionStatus.IDLE:
                    self.session.query("ROLLBACK")

    def callback_registered(self, why: str) -> None:
        if self._observer is not None:
            self._observer.callback_registered(why)

    def callbacks_dropped(self, count: int) -> None:
        if self._observer is not None:
            self._observer.callbacks_dropped(count)

    def subscribe(self, observer: RealTransactionObserver) -> None:
        """Notify ``observer`` from now on."""
        self._observer = observer

    # What is asked while it runs.

    @property
    def commits_by_itself(self) -> bool:
        """Whether a statement outside a transaction is one of its own: the driver begins none."""
        return bool(self._raw.autocommit)

    @property
    def idle(self) -> bool:
        """Whether no transaction is open on the server."""
        return self.session.status == TransactionStatus.IDLE

    @property
    def in_transaction(self) -> bool:
        """Whether the next statement will be in a transaction."""
        return not (self.idle and self._raw.autocommit)

    def check_intact(self) -> None:
        """Refuse to go on without a connection."""
        if self.session.status == TransactionStatus.UNKNOWN:
            raise DryRunStopped("The connection to the clone was lost, so the dry run stopped.")

    def close_cursors(self) -> None:
        """Close what a migration has left open."""
        self.session.query("CLOSE ALL")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold a transaction to read in, where there is none; nothing that it counts is kept."""
        if not self.idle:
            yield
            return
        self.session.query("BEGIN READ WRITE")
        try:
            yield
        finally:
            with suppress(psycopg.Error):
                self.session.query("ROLLBACK")
                self.flush()

    # Transactions.

    def begin(self) -> None:
        """Begin as the driver is about to, or for a statement that would be alone."""
        self.session.query("BEGIN" if self._raw.autocommit else begin_command(self._raw))
        if self._observer is not None:
            self._observer.transaction_begun()

    def commit(self) -> None:
        """Commit what :meth:`begin` has begun; raises what COMMIT raises."""
        self.ending(commit=True)
        try:
            self.session.query("COMMIT")
        except psycopg.Error:
            self.check_intact()
            self.over(committed=False)
            raise
        self.over(committed=True)

    def roll_back(self) -> None:
        """Roll back what :meth:`begin` has begun."""
        self.ending(commit=False)
        self.session.query("ROLLBACK")
        self.over(committed=False)

    def ending(self, *, commit: bool) -> None:
        """Examine the transaction before it ends; refuse what would reach beyond the clone.

        The deferred constraints are checked here rather than by the COMMIT that follows, so that
        the rows at fault can be looked for.
        """
        self._checked_ms = 0.0
        if self.session.status != TransactionStatus.INTRANS or self.session.in_pipeline:
            return
        if self._observer is not None:
            self._observer.transaction_ending()
        if not commit:
            return
        try:
            with self._clock.stopped():
                checked_ms, beyond = self.session.query(_BEYOND)[0]
                self._checked_ms = float(checked_ms or 0)
                self._clock.add(self._checked_ms / 1000)
        except psycopg.Error as error:
            self.check_intact()
            self.session.query(f"ROLLBACK TO SAVEPOINT {_CHECK}")
            if self._observer is not None:
                self._observer.commit_failed(error)
            self.session.query("ROLLBACK")
            self.over(committed=False)
            raise
        if beyond:
            self.session.query("ROLLBACK")
            self.over(committed=False)
            raise DryRunRefused(
                f"A migration changes what is not in the clone but in the whole server, or on "
                f"another one ({beyond}), so the dry run stopped before that was committed; "
                "rehearse it without --clone, which rolls it back."
            )

    def over(self, *, committed: bool) -> None:
        """Note that the transaction has ended."""
        self.flush()
        if self._observer is not None:
            self._observer.transaction_over(committed=committed, checked_ms=self._checked_ms)
        self._checked_ms = 0.0

    def flush(self) -> None:
        """Reset the counters of the session, so that they are those of the next transaction."""
        if self.flushes and self.idle:
            with self._clock.stopped():
                self.session.query("SELECT pg_catalog.pg_stat_force_next_flush()")

    @contextmanager
    def script(self) -> Iterator[None]:
        """Hold the transaction that PostgreSQL makes of several statements in one text."""
        if self.idle and self._raw.autocommit:
            self._open_implicit()
        self._in_script = True
        try:
            yield
            if self._implicit and self.session.status == TransactionStatus.INTRANS:
                self.commit()
        except BaseException:
            if self._implicit and self.session.status in _OPEN:
                self.roll_back()
            raise
        finally:
            self._implicit = self._in_script = False

    def _open_implicit(self) -> None:
        self.session.query("BEGIN")
        self._implicit = True
        if self._observer is not None:
            self._observer.transaction_begun()

    @contextmanager
    def controlled(self, statement: Statement) -> Iterator[None]:
        """Hold while BEGIN, COMMIT or ROLLBACK is sent as it is written."""
        open_before = not self.idle
        usable = self.session.status == TransactionStatus.INTRANS
        if statement.commits or statement.rolls_back:
            self.ending(commit=statement.commits)
        elif statement.begins:
            self._implicit = False
        yield
        if open_before and self.idle:
            self.over(committed=usable and statement.commits)
            if self._in_script:
                self._open_implicit()
        elif not open_before and not self.idle and self._observer is not None:
            self._observer.transaction_begun()

    def driver_command(
        self, send: Callable[[], Generator[Any, Any, Any]], text: str
    ) -> Generator[Any, Any, Any]:
        """Notice what the driver begins, commits and rolls back by itself."""
        command = text.strip().upper()
        before = self.session.status
        commits = command == "COMMIT" and before == TransactionStatus.INTRANS
        if command == "COMMIT":
            self.timeouts.check()
        if command in ("COMMIT", "ROLLBACK"):
            self.ending(commit=commits)
        try:
            result = yield from send()
        except BaseException:
            self._noticed(before, committed=False)
            raise
        self._noticed(before, committed=commits)
        self._follow(text)
        return result

    def _follow(self, text: str) -> None:
        for statement in parse(text, placeholders=False):
            if statement.kind is Kind.SAVEPOINT and self._observer is not None:
                self._observer.savepoint(statement)

    def _noticed(self, before: TransactionStatus, *, committed: bool) -> None:
        if before == TransactionStatus.IDLE:
            if self.session.status == TransactionStatus.INTRANS and self._observer is not None:
                self._observer.transaction_begun()
        elif self.idle:
            self.over(committed=committed)
