"""PostgreSQL's own ``lock_timeout`` and ``statement_timeout``, set around each migration.

They bind everything that runs in the session: ``RunSQL``, ``RunPython`` and hooks.
A session that a pool shares between clients must not keep them, so there they are set for the
transaction alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    import psycopg
    from django.db.backends.base.base import BaseDatabaseWrapper


class MigrationTimeouts:
    """The timeouts of one migration on one connection, and what was there before."""

    def __init__(
        self, connection: BaseDatabaseWrapper, wanted: Mapping[str, str], *, session_is_shared: bool
    ) -> None:
        self._connection = connection
        self._wanted = wanted
        self._local = session_is_shared
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
        """Set the timeouts: for the session, as a COMMIT in a migration would end ``SET LOCAL``.

        For the transaction alone where other clients share the session; outside of one, nothing.
        """
        if not self._wanted:
            return
        self._connection.ensure_connection()
        raw = self._raw = self._connection.connection
        if self._local and raw.autocommit:
            return
        for name, value in self._wanted.items():
            if not self._local:
                row = raw.execute("SELECT pg_catalog.current_setting(%s)", [name]).fetchone()
                assert row is not None
                self._before[name] = row[0]
            self._assign(raw, name, value)

    def restore(self) -> None:
        """Put back what was there before."""
        raw = self._raw
        if raw is None or raw.closed or raw is not self._connection.connection:
            return  # nothing was set, or a new session has its own values
        if raw.info.transaction_status == TransactionStatus.INERROR:
            return  # the rollback that must follow restores them
        for name, value in self._before.items():
            self._assign(raw, name, value)

    def _assign(self, raw: psycopg.Connection[Any], name: str, value: str) -> None:
        raw.execute("SELECT pg_catalog.set_config(%s, %s, %s)", [name, value, self._local])
