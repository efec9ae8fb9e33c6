"""What one ``migrate`` keeps for one database, from ``pre_migrate`` to its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg

from django_confiture.exceptions import MigrateRefused
from django_confiture.migrate.second_connection import Direct, shares_sessions
from django_confiture.migrate.settings import migrate_settings

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.migration import Migration


class PlanSession:
    """The settings of one ``migrate``, and what is known of its connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self.settings = migrate_settings(connection)
        self._is_shared: bool | None = None

    @property
    def session_is_shared(self) -> bool:
        """Whether a pool gives the session to other clients between two transactions."""
        if self._is_shared is None:
            self._is_shared = self._find_out()
        return self._is_shared

    def check(self, plan: Sequence[Migration]) -> None:
        """Refuse what can't work here, before the first migration runs."""
        if not self.settings.timeouts or not self.session_is_shared:
            return
        label = next((f"{m.app_label}.{m.name}" for m in plan if not m.atomic), None)
        if label is not None:
            raise MigrateRefused(
                f"The connection to {self._connection.alias!r} goes through a pool whose sessions "
                "are shared between clients (transaction pooling), and the timeouts of "
                f'CONFITURE["MIGRATE"] can\'t hold for {label}, which is not atomic, without '
                "reaching those clients; let migrate connect to PostgreSQL itself or to a pool in "
                "session mode, or leave LOCK_TIMEOUT and STATEMENT_TIMEOUT out for it."
            )

    def _find_out(self) -> bool:
        self._connection.ensure_connection()
        try:
            return shares_sessions(self._connection, Direct(self._connection.connection))
        except psycopg.Error as error:
            raise MigrateRefused(
                f"The connection to {self._connection.alias!r} goes through a pool, and a second "
                f"one, to see whether its sessions are shared, failed "
                f"({' '.join(str(error).split())}); connect to PostgreSQL itself."
            ) from error


_open: dict[str, PlanSession] = {}
"""By alias."""


def open_session(connection: BaseDatabaseWrapper) -> PlanSession:
    """Begin a session for the plan that ``migrate`` is about to run; it replaces the last one."""
    session = _open[connection.alias] = PlanSession(connection)
    return session


def current_session(connection: BaseDatabaseWrapper) -> PlanSession:
    """Return the session of the plan that runs; one of its own where there was no plan."""
    session = _open.get(connection.alias)
    if session is None or getattr(connection, "_confiture_dry_run", False):
        return PlanSession(connection)
    return session
