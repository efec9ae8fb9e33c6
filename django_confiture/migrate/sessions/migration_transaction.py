"""The transaction of an attempt at a migration, and how it ended where the session is gone.

A migration may send a COMMIT of its own, in a script or through the driver. Once its session has
ended, only the server knows that it did.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from enum import Enum
from typing import TYPE_CHECKING

import psycopg

from django_confiture.migrate.sessions.dead_client import SET_FOR_TRANSACTION
from django_confiture.migrate.sessions.second_connection import connect_beside

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

PATIENCE_S = 3.0
"""A server that restarts after a crash takes a moment, as does a session that is rolled back."""
_AGAIN_S = 0.05

SAVEPOINT = "confiture_attempt"
_BEGUN = "SELECT pg_catalog.pg_current_xact_id()::text, extract(epoch FROM now())::float8"
_CURRENT = "SELECT pg_catalog.pg_current_xact_id_if_assigned()::text"
_STATUS = "SELECT pg_catalog.pg_xact_status(%s::xid8)"


class Outcome(Enum):
    """How a transaction ended; values are PostgreSQL's words."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    IN_PROGRESS = "in progress"
    UNKNOWN = None


class MigrationTransaction:
    """The transaction that an atomic migration began in."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._id: str | None = None
        self.began: float | None = None
        """Seconds since the epoch, as the server says it; None before it has begun."""

    def begin(self, *, ends_with_client: bool) -> None:
        """Set a savepoint, and ask which transaction this is, in one round trip.

        ``ends_with_client``: let the server roll it back once its client is gone. Servers on
        Windows can't: there nothing changes.
        """
        try:
            self._begin(SET_FOR_TRANSACTION if ends_with_client else "")
        except psycopg.Error:
            if not ends_with_client or self._connection.connection.closed:
                raise
            self._connection.connection.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            self._begin("")

    def _begin(self, setting: str) -> None:
        """Send all of it at once, which a prepared statement could not."""
        script = "; ".join(filter(None, (f"SAVEPOINT {SAVEPOINT}", setting, _BEGUN)))
        cursor = self._connection.connection.execute(script, prepare=False)
        while cursor.nextset():
            pass
        self._id, self.began = cursor.fetchone()

    def is_open(self) -> bool | None:
        """Return whether it is still the current one, of a live session; None if unknown."""
        if self._id is None:
            return None
        row = self._connection.connection.execute(_CURRENT).fetchone()
        return bool(row[0] == self._id)

    def outcome(self) -> Outcome:
        """Ask on another connection how it ended, for as long as the server may still be at it."""
        found = Outcome.UNKNOWN
        if self._id is None:
            return found
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with suppress(psycopg.OperationalError):  # it may be about to start again
                for found in self._looks(self._id):
                    if found is not Outcome.IN_PROGRESS or time.monotonic() >= until:
                        return found
            time.sleep(_AGAIN_S)
        return found

    def _looks(self, xid: str) -> Iterator[Outcome]:
        with closing(connect_beside(self._connection, "django-confiture")) as other:
            while True:
                try:
                    row = other.execute(_STATUS, [xid]).fetchone()
                except psycopg.DataError:  # of another server, as after a failover
                    row = None
                yield Outcome(row[0]) if row else Outcome.UNKNOWN
                time.sleep(_AGAIN_S)
