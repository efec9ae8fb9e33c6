"""``connection.close()``: it would end the dry run's transaction, so the connection stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_confiture.dry_run.server.side_channel import Session

LEFT_OUT = (
    "close() was left out, as it would end the dry run's transaction. What the session holds is "
    "still there: temporary tables, settings, advisory locks, prepared statements. --clone keeps "
    "the connection as well."
)

_CREATE_CURSOR = "create_cursor"

_HOLDS = r"""
    SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = pg_my_temp_schema()
        AND relkind = 'r' AND relname NOT LIKE 'confiture\_%')
      OR EXISTS (SELECT FROM pg_catalog.pg_prepared_statements
        WHERE from_sql AND name NOT LIKE 'confiture\_%')
      OR EXISTS (SELECT FROM pg_catalog.pg_locks
        WHERE pid = pg_backend_pid() AND locktype = 'advisory')
"""


class ConnectionClosedError(psycopg.OperationalError):
    """What the driver says of a connection that the migration has closed, or let go.

    A connection that the dry run lost raises something else: the migration did not cause that.
    """

    def __init__(self) -> None:
        """Say what the driver says."""
        super().__init__("the connection is closed")


class ClosedInBlock:
    """A connection that was closed in an atomic block: nothing can be sent until the block ends."""

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self._wrapper = wrapper
        self._connection: Any = wrapper.connection
        self._refusal = self._refuse
        self._shadowed: Any = None
        """What stood in for the method before: some backends set one."""

    def close(self) -> None:
        """Do to the state of the block what Django does."""
        self._wrapper.closed_in_transaction = True
        self._wrapper.needs_rollback = True
        own = vars(self._wrapper)
        if own.get(_CREATE_CURSOR) is not self._refusal:
            self._shadowed = own.get(_CREATE_CURSOR)
            own[_CREATE_CURSOR] = self._refusal

    def _refuse(self, name: str | None = None) -> None:  # noqa: ARG002
        raise ConnectionClosedError

    def check(self) -> None:
        """Fail as the driver does with a connection that is closed."""
        if self._wrapper.closed_in_transaction:
            self._refuse()

    def reopen(self) -> bool:
        """Give Django its connection, if the end of the block has taken it; return whether."""
        own = vars(self._wrapper)
        if own.get(_CREATE_CURSOR) is self._refusal:
            del own[_CREATE_CURSOR]
            own.update({_CREATE_CURSOR: self._shadowed} if self._shadowed is not None else {})
        if self._wrapper.connection is not None or self._connection.closed:
            return False
        self._wrapper.connection = self._connection
        return True


def holds_state(session: Session) -> bool:
    """Return whether the session holds something, settings aside, that goes with its connection."""
    return session.value(_HOLDS) == "t"
