"""Restores what a session keeps after a rollback: advisory locks and prepared statements."""

from __future__ import annotations

from django_confiture.dry_run.server.side_channel import Row, Session

_ADVISORY = """
SELECT DISTINCT classid, objid, objsubid, mode FROM pg_catalog.pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND granted
  AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
"""

_PREPARED = "SELECT quote_ident(name) FROM pg_catalog.pg_prepared_statements WHERE from_sql"

_READ_ONLY = "default_transaction_read_only"


class SessionState:
    """The session's advisory locks and prepared statements before a dry run.

    While it is on, a transaction that is not ours can't write: one that a migration begins after
    it has ended ours, in whatever way. In a transaction of the caller's the setting would be part
    of that transaction, so there it is left alone.
    """

    def __init__(self, session: Session, *, nested: bool) -> None:
        self._session = session
        self._nested = nested
        self._locks = set(session.query(_ADVISORY))
        self._prepared = set(session.query(_PREPARED))
        self._read_only = session.value(f"SHOW {_READ_ONLY}")
        if not nested:
            session.query(f"SET {_READ_ONLY} = on")

    def restore(self) -> None:
        """Release and forget what is new; to be called when all is rolled back."""
        if not self._nested:
            self._session.query(f"SET {_READ_ONLY} = {self._read_only}")
        for row in set(self._session.query(_ADVISORY)) - self._locks:
            self._unlock(row)
        for (name,) in set(self._session.query(_PREPARED)) - self._prepared:
            self._session.query(f"DEALLOCATE {name}")

    def _unlock(self, lock: Row) -> None:
        first, second, parts, mode = lock
        shared = "_shared" if mode == "ShareLock" else ""
        key = (
            f"(({first}::bigint << 32) | {second}::bigint)"  # objsubid 1: one key of 64 bits
            if parts == "1"
            else f"{_signed(first)}, {_signed(second)}"
        )
        unlock = f"pg_catalog.pg_advisory_unlock{shared}({key})"
        while self._session.query(_ADVISORY).count(lock):  # it may have been taken several times
            self._session.query(f"SELECT {unlock}")


def _signed(oid: str | None) -> int:
    """Return the ``integer`` that ``pg_locks`` shows as an OID."""
    number = int(oid or 0)
    return number - 2**32 if number >= 2**31 else number
