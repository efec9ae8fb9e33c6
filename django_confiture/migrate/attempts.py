"""The attempts at one migration: which failures are retried, and when.

Lock timeouts (55P03), deadlocks (40P01) and giving way to other sessions are: they don't mean that
anything is wrong with the migration. Other errors are not, nor is anything after a commit.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from psycopg import Error

from django_confiture.exceptions import HookError, MigrationGaveWay, MigrationGotNoLock
from django_confiture.formatting import listed, one_line
from django_confiture.migrate.lost_session import chain
from django_confiture.migrate.sessions.dead_client import end_with_client
from django_confiture.migrate.sessions.migration_transaction import (
    SAVEPOINT,
    MigrationTransaction,
    Outcome,
)
from django_confiture.migrate.stopped import left_without_transaction, operation_at
from django_confiture.migrate.watching import gave_way
from django_confiture.migrate.watching.activity import GaveWay
from django_confiture.migrate.watching.announcements import log_facts
from django_confiture.migrate.watching.watch import Target

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.migration import Migration

    from django_confiture.migrate.plan_session import PlanSession

logger = logging.getLogger("django_confiture.hooks")

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK_DETECTED = "40P01"
RETRIED = frozenset({LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED})


_WAY_ON = (
    "Run migrate again when fewer sessions need the table, or raise LOCK_RETRIES; migrate_dryrun "
    "says what it locks."
)
_COMMITTED = (
    "It has ended its transaction by itself, so parts of it may stay; look at what is there before "
    "you run migrate again."
)
_NOT_RETRIED = (
    "LOCK_RETRIES is for atomic migrations alone: wait until fewer sessions need the table, or "
    "raise LOCK_TIMEOUT; migrate_dryrun says what it locks."
)


class Attempts:
    """Counts the attempts at one migration, and decides whether there is another."""

    def __init__(
        self, connection: BaseDatabaseWrapper, session: PlanSession, migration: Migration
    ) -> None:
        self._connection = connection
        self._session = session
        self._settings = session.settings
        self._migration = migration
        self._target: Target | None = None
        self._transaction = MigrationTransaction(connection)
        self.number = 0

    def begin(self, **facts: Any) -> None:
        """Begin an attempt in a transaction; ``facts`` go into its signals."""
        self.number += 1
        self._connection.ensure_connection()
        if not self._settings.is_default:
            self._transaction.begin(ends_with_client=self._settings.max_blocking is not None)
        self._follow(facts)

    def begin_without_transaction(self, **facts: Any) -> None:
        """Begin the only attempt at a migration that is not atomic."""
        self.number += 1
        self._connection.ensure_connection()
        if self._session.watch is not None and self._session.session_is_shared:
            return
        if self._settings.max_blocking is not None:
            end_with_client(self._connection.connection)
        self._follow(facts)

    def completed(self) -> None:
        """End an attempt that did all its work; raise if the watch ended it meanwhile.

        From here on the watch ends nothing.
        """
        if (ended := self._leave()) is not None:
            raise _Interrupted(ended)

    def delay_after(self, error: BaseException) -> float:
        """Return for how many seconds to wait before the next attempt; raise if there is none."""
        ended = error.gave_way if isinstance(error, _Interrupted) else self._leave()
        if ended is None:
            return self._delay_after_lock(error)
        self._tell(ended)
        why_not_again = "" if self._nothing_committed(ended) else gave_way.COMMITTED
        if why_not_again or self.number > self._settings.lock_retries:
            raise self._given_up(ended, why_not_again) from error
        return self._settings.delay(self.number)

    def failed_without_transaction(self, error: BaseException, *, resumes: bool) -> BaseException:
        """Return the error to raise after the only attempt, which may have committed parts."""
        ended = error.gave_way if isinstance(error, _Interrupted) else self._leave()
        if ended is not None:
            self._tell(ended)
            why = gave_way.RESUMABLE if resumes else gave_way.NOT_ATOMIC
            return self._given_up(ended, why)
        if not self._expects_lock_errors or retried_sqlstate(error) is None:
            return error
        if isinstance(error, HookError):
            error.add_note("Not retried: parts of a non-atomic migration may be committed.")
            return error
        left = left_without_transaction(resumes=resumes)
        return self._got_no_lock(error, f"{left} {_NOT_RETRIED}")

    def ended_too_late(self) -> None:
        """Report that the watch ended a non-atomic migration that had done all its work."""
        if (ended := self._leave()) is not None:
            self._tell(ended)

    def last_blockers(self) -> list[dict[str, Any]]:
        """Return the sessions that were in the way of the last attempt."""
        watch = self._session.watch
        return [each.as_dict() for each in watch.last_blockers()] if watch is not None else []

    def outcome(self) -> Outcome:
        """Return how the transaction ended in which the last attempt began, now that it has."""
        return self._transaction.outcome()

    def what_rollback_leaves(self) -> str:
        """Return a sentence on what is left of an attempt that is about to be rolled back."""
        is_open = self._transaction.is_open()
        if is_open is None:
            return f"{self._migration} was rolled back, unless it sent a COMMIT of its own."
        if is_open:
            return f"{self._migration} was rolled back."
        return f"{self._migration} has ended its transaction by itself, so parts of it may stay."

    def abandoned(self) -> None:
        """End the attempt, however it went: what follows must not be interrupted."""
        self._leave()

    def _follow(self, facts: dict[str, Any]) -> None:
        self._target = self._session.attempt_begins(
            lambda pid: Target(
                pid,
                self.number,
                self._migration,
                facts,
                in_transaction=self._connection.in_atomic_block,
            )
        )

    def _leave(self) -> GaveWay | None:
        return self._session.attempt_ends() if self._target is not None else None

    def _delay_after_lock(self, error: BaseException) -> float:
        retries = self._settings.lock_retries
        sqlstate = retried_sqlstate(error)
        if sqlstate is None or not self._expects_lock_errors:
            raise error
        is_rolled_back = self._nothing_committed(None)
        if self.number > retries or not is_rolled_back:
            if not isinstance(error, HookError):
                left = f"All of it was rolled back. {_WAY_ON}" if is_rolled_back else _COMMITTED
                raise self._got_no_lock(error, left) from error
            if self.number > 1:
                error.add_note(f"Tried {self.number} times.")
            if not is_rolled_back:
                error.add_note(f"Not retried: {_COMMITTED}")
            raise error
        delay = self._settings.delay(self.number)
        logger.warning(
            "lock_timeout_retry",
            extra={
                **log_facts(self._migration),
                "attempt": self.number,
                "delay_ms": round(delay * 1000),
                "error": one_line(error),
                "sqlstate": sqlstate,
                "blocked_by": self.last_blockers(),
            },
        )
        return delay

    @property
    def _expects_lock_errors(self) -> bool:
        """Whether a setting makes them the usual end of a wait, so that one line says all."""
        return self._settings.lock_timeout is not None or self._settings.lock_retries > 0

    def _got_no_lock(self, error: BaseException, left: str) -> MigrationGotNoLock:
        """Return the error to raise; the notes of the original one are in its line, too."""
        lines = str(error).splitlines() or [type(error).__name__]
        watch = self._session.watch
        blockers = watch.last_blockers() if watch is not None else ()
        names = listed([f"{each.name} ({each.state or 'state not visible'})" for each in blockers])
        parts = (
            f"{self._migration} got no lock: {one_line(lines[0]).rstrip('.')}.",
            f"Tried {self.number} times." if self.number > 1 else "",
            operation_at(chain(error), self._migration),
            f"In its way was {names}." if names else "",
            *map(one_line, getattr(error, "__notes__", ())),
            left,
        )
        return MigrationGotNoLock(" ".join(filter(None, parts)))

    def _tell(self, ended: GaveWay) -> None:
        assert self._target is not None
        gave_way.tell(self._target, ended)

    def _given_up(self, ended: GaveWay, why_not_again: str) -> MigrationGaveWay:
        assert self._settings.max_blocking is not None
        return MigrationGaveWay(
            gave_way.described(
                str(self._migration),
                ended,
                max_blocking=self._settings.max_blocking,
                attempts=self.number,
                why_not_again=why_not_again,
            )
        )

    def _nothing_committed(self, ended: GaveWay | None) -> bool:
        """Return whether the transaction of this attempt is still the current one, or was last.

        A migration may have ended it with a ``COMMIT`` of its own: the savepoint went with it.
        Where the session was terminated, the watch has seen which transaction that was.
        """
        raw = self._connection.connection
        try:
            raw.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
        except (Error, AttributeError):
            terminated = raw is None or raw.closed
            return (
                ended is not None
                and terminated
                and ended.doing.transaction_began == self._transaction.began
            )
        return True


class _Interrupted(Exception):  # noqa: N818 - not shown to anyone
    """The watch ended an attempt that did not notice."""

    def __init__(self, gave_way: GaveWay) -> None:
        super().__init__("canceled by django-confiture")
        self.gave_way = gave_way


def retried_sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE for which ``error``, or what it was raised from, is tried again."""
    cause: BaseException | None = error
    while cause is not None:
        sqlstate: str | None = getattr(cause, "sqlstate", None)
        if sqlstate in RETRIED:
            return sqlstate
        cause = cause.__cause__
    return None
