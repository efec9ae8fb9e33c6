"""A dry run's session must be its own: it refuses a pool whose sessions are shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from django_confiture.dry_run.server.side_channel import Session
from django_confiture.exceptions import DryRunRefused
from django_confiture.formatting import one_line
from django_confiture.migrate.sessions.second_connection import (
    backend_pid,
    connect_beside,
    shares_sessions,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["backend_pid", "connect_beside", "refuse_shared_sessions"]


def refuse_shared_sessions(wrapper: BaseDatabaseWrapper, session: Session) -> None:
    """Refuse a pool that gives each transaction whatever session is free."""
    try:
        shared = shares_sessions(wrapper, session)
    except psycopg.Error as error:
        raise DryRunRefused(
            f"The connection to {wrapper.alias!r} goes through a pool, and a second one, to see "
            f"whether its sessions are shared, failed ({one_line(error)}); "
            "connect to PostgreSQL itself."
        ) from error
    if shared:
        raise DryRunRefused(
            f"The connection to {wrapper.alias!r} goes through a pool whose sessions are shared "
            "between clients (transaction pooling), so no session is the dry run's own; connect "
            "to PostgreSQL itself, or to a pool in session mode."
        )
