"""The attempts at one atomic migration: which failure is worth another, and when.

Only a lock timeout (55P03) and a deadlock (40P01) are: both say that another session was in the
way, and that nothing is wrong with the migration.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from psycopg import Error

from django_confiture.formatting import one_line

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_confiture.migrate.settings import MigrateSettings

logger = logging.getLogger("django_confiture.hooks")

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK_DETECTED = "40P01"
RETRIED = frozenset({LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED})

_ATTEMPT = "confiture_attempt"


class Attempts:
    """Counts the attempts at one migration, and decides whether there is another."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        settings: MigrateSettings,
        facts: dict[str, object],
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._facts = facts
        self.number = 0

    def begin(self) -> None:
        """Count an attempt, and mark its transaction where there may be another."""
        self.number += 1
        if self._settings.lock_retries:
            self._connection.ensure_connection()
            self._connection.connection.execute(f"SAVEPOINT {_ATTEMPT}")

    def delay_after(self, error: Exception) -> float:
        """Return for how many seconds to wait before the next attempt; raise if there is none."""
        retries = self._settings.lock_retries
        sqlstate = retried_sqlstate(error)
        if sqlstate is None or not retries:
            raise error
        if self.number > retries:
            error.add_note(f"Tried {retries + 1} times.")
            raise error
        if not self._nothing_committed():
            error.add_note("Not retried: the migration has ended its transaction by itself.")
            raise error
        delay = self._settings.delay(self.number)
        logger.warning(
            "lock_timeout_retry",
            extra={
                **self._facts,
                "attempt": self.number,
                "delay_ms": round(delay * 1000),
                "error": one_line(error),
                "sqlstate": sqlstate,
            },
        )
        return delay

    def _nothing_committed(self) -> bool:
        """Return whether the transaction of this attempt is still the current one.

        A migration may have ended it with a ``COMMIT`` of its own: the savepoint went with it.
        """
        try:
            self._connection.connection.execute(f"ROLLBACK TO SAVEPOINT {_ATTEMPT}")
        except (Error, AttributeError):
            return False
        return True


def retried_sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE for which ``error``, or what it was raised from, is tried again."""
    cause: BaseException | None = error
    while cause is not None:
        sqlstate: str | None = getattr(cause, "sqlstate", None)
        if sqlstate in RETRIED:
            return sqlstate
        cause = cause.__cause__
    return None
