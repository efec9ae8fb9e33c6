"""What stands between Django's connection and the server: nothing, a pool, or one that shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg

from django_confiture.exceptions import MigrateRefused
from django_confiture.formatting import one_line
from django_confiture.migrate.sessions.second_connection import (
    Direct,
    backend_pid,
    is_pooled,
    shares_sessions,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.migration import Migration

_READ_ONLY = {
    "in_hot_standby": "its server is a standby; let migrate connect to the primary",
    "default_transaction_read_only": (
        "default_transaction_read_only is on, so set it to off for the role that migrates"
    ),
}


class ServerPath:
    """Finds out when it is asked, and asks the server once."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._is_pooled: bool | None = None
        self._is_shared: bool | None = None

    def is_like(self, *, pooled: bool) -> None:
        """Note whether another connection to the same address goes through a pool."""
        self._is_pooled = pooled

    def find_out(self) -> None:
        """Ask before a migration's transaction begins, in which SET TRANSACTION has to be first."""
        _ = self.is_pooled

    @property
    def is_pooled(self) -> bool:
        """Whether a pool stands between the connection and the server."""
        if self._is_pooled is None:
            self._connection.ensure_connection()
            raw = self._connection.connection
            self._is_pooled = is_pooled(raw, Direct(raw))
        return self._is_pooled

    @property
    def session_is_shared(self) -> bool:
        """Whether that pool gives the session to other clients between two transactions."""
        if self._is_shared is None:
            self._is_shared = self.is_pooled and self._shares()
        return self._is_shared

    def backend_pid(self) -> int:
        """Return the server process that answers the connection now."""
        raw = self._connection.connection
        return backend_pid(Direct(raw)) if self.is_pooled else int(raw.info.backend_pid)

    def refuse_standby(self) -> None:
        """Refuse a server that can't write; the driver knows, so that costs nothing."""
        self._refuse_if("in_hot_standby")

    @property
    def is_read_only_by_default(self) -> bool:
        """Return whether transactions can't write unless they say so themselves."""
        return self._is_on("default_transaction_read_only")

    def refuse_read_only(self) -> None:
        """Refuse a role whose transactions can't write unless they say so themselves."""
        self._refuse_if("default_transaction_read_only")

    def _refuse_if(self, setting: str) -> None:
        if self._is_on(setting):
            raise MigrateRefused(
                f"{self._connection.alias!r} is read-only: {_READ_ONLY[setting]}. Nothing has run."
            )

    def _is_on(self, setting: str) -> bool:
        self._connection.ensure_connection()
        return bool(self._connection.connection.info.parameter_status(setting) == "on")

    def refuse_timeouts(self, plan: Sequence[Migration]) -> None:
        """Refuse timeouts where they would reach other clients, before the first migration runs."""
        if not self.session_is_shared:
            return
        label = next((str(each) for each in plan if not each.atomic), None)
        if label is not None:
            raise MigrateRefused(
                f"The connection to {self._connection.alias!r} goes through a pool whose sessions "
                "are shared between clients (transaction pooling), and the timeouts of "
                f'CONFITURE["MIGRATE"] can\'t hold for {label}, which is not atomic, without '
                "reaching those clients; let migrate connect to PostgreSQL itself or to a pool in "
                "session mode, or leave LOCK_TIMEOUT and STATEMENT_TIMEOUT out for it."
            )

    def _shares(self) -> bool:
        try:
            return shares_sessions(self._connection, Direct(self._connection.connection))
        except psycopg.Error as error:
            raise MigrateRefused(
                f"The connection to {self._connection.alias!r} goes through a pool, and a second "
                f"one, to see whether its sessions are shared, failed "
                f"({one_line(error)}); connect to PostgreSQL itself."
            ) from error
