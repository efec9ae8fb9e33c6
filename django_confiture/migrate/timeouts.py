"""``CONFITURE["MIGRATE"]``: timeouts that hold for every statement of a migration, and retries.

PostgreSQL's own ``lock_timeout`` and ``statement_timeout`` are set at the start of each
migration: whatever then runs in its session, ``RunSQL``, ``RunPython`` and hooks included, is
bound by them. A migration that gave up waiting for a lock is rolled back and tried again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from psycopg import Error
from psycopg.pq import TransactionStatus

from django_confiture import conf

if TYPE_CHECKING:
    import psycopg
    from django.db.backends.base.base import BaseDatabaseWrapper

LOCK_NOT_AVAILABLE = "55P03"
LONGEST_DELAY = timedelta(minutes=1)

_ATTEMPT = "confiture_attempt"


@dataclass(frozen=True)
class MigrateSettings:
    """What ``CONFITURE["MIGRATE"]`` says."""

    lock_timeout: timedelta | None = None
    """PostgreSQL's ``lock_timeout``; ``None`` leaves it as it is."""
    statement_timeout: timedelta | None = None
    """PostgreSQL's ``statement_timeout``; ``None`` leaves it as it is."""
    lock_retries: int = 0
    """How many times a migration is tried again after a lock timeout."""
    retry_delay: timedelta = timedelta(seconds=1)
    """The wait before the first retry; it doubles with each, up to a minute, with jitter."""

    @property
    def session(self) -> dict[str, str]:
        """PostgreSQL's settings and their values."""
        given = {"lock_timeout": self.lock_timeout, "statement_timeout": self.statement_timeout}
        return {
            name: conf.milliseconds(value) for name, value in given.items() if value is not None
        }

    def delay(self, attempt: int) -> float:
        """Return how many seconds to wait after the failure of ``attempt``, counted from 1."""
        wanted = self.retry_delay.total_seconds() * 2.0 ** min(attempt - 1, 30)
        longest = min(wanted, LONGEST_DELAY.total_seconds())
        return longest * random.uniform(0.5, 1)  # noqa: S311 - jitter, no secret


def migrate_settings(connection: BaseDatabaseWrapper) -> MigrateSettings:
    """Return the project's settings; a dry run has timeouts of its own and retries nothing."""
    if getattr(connection, "_confiture_dry_run", False):
        return MigrateSettings()
    given = conf.get("MIGRATE")
    durations = {
        key.lower(): conf.parse_duration(given[key], name=f'CONFITURE["MIGRATE"]["{key}"]')
        for key in ("LOCK_TIMEOUT", "STATEMENT_TIMEOUT", "RETRY_DELAY")
    }
    retries = given["LOCK_RETRIES"]
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise conf.SettingError(
            f'CONFITURE["MIGRATE"]["LOCK_RETRIES"] is {retries!r}',
            "write how many times to try again, such as 3, or 0",
        )
    return MigrateSettings(
        lock_timeout=durations["lock_timeout"],
        statement_timeout=durations["statement_timeout"],
        lock_retries=retries,
        retry_delay=durations["retry_delay"] or timedelta(0),
    )


class SessionTimeouts:
    """The timeouts of one migration on one connection, and what was there before."""

    def __init__(self, connection: BaseDatabaseWrapper, settings: MigrateSettings) -> None:
        self._connection = connection
        self._wanted = settings.session
        self._before: dict[str, str] = {}
        self._raw: psycopg.Connection[Any] | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Set the timeouts, and restore what was there before on every way out."""
        self.set()
        try:
            yield
        finally:
            self.restore()

    def set(self) -> None:
        """Set the timeouts for the session: a COMMIT in a migration would end ``SET LOCAL``."""
        if not self._wanted:
            return
        self._connection.ensure_connection()
        raw = self._raw = self._connection.connection
        for name, value in self._wanted.items():
            row = raw.execute("SELECT pg_catalog.current_setting(%s)", [name]).fetchone()
            assert row is not None
            self._before[name] = row[0]
            _assign(raw, name, value)

    def restore(self) -> None:
        """Put back what was there before."""
        raw = self._raw
        if raw is None or raw.closed or raw is not self._connection.connection:
            return  # nothing was set, or a new session has its own values
        if raw.info.transaction_status == TransactionStatus.INERROR:
            return  # the rollback that must follow restores them
        for name, value in self._before.items():
            _assign(raw, name, value)


def _assign(raw: psycopg.Connection[Any], name: str, value: str) -> None:
    raw.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])


def is_lock_timeout(error: BaseException) -> bool:
    """Say whether ``error``, or what it was raised from, is a lock that could not be had."""
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            return True
        cause = cause.__cause__
    return False


def mark_attempt(connection: BaseDatabaseWrapper) -> None:
    """Set the savepoint by which :func:`nothing_committed` knows its transaction again."""
    connection.ensure_connection()
    connection.connection.execute(f"SAVEPOINT {_ATTEMPT}")


def nothing_committed(connection: BaseDatabaseWrapper) -> bool:
    """Say whether the transaction of :func:`mark_attempt` is still the current one.

    A migration may have ended it with a ``COMMIT`` of its own: the savepoint went with it.
    """
    try:
        connection.connection.execute(f"ROLLBACK TO SAVEPOINT {_ATTEMPT}")
    except (Error, AttributeError):
        return False
    return True
