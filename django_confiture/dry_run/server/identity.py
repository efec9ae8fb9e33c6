"""Which database a session is connected to, however it was reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session

# As a number: how a time is written depends on the session's time zone.
_IDENTITY = """
SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text || ' ' || oid
FROM pg_catalog.pg_database WHERE datname = current_database()
"""


def database_identity(session: Session) -> str:
    """Return what no other database has, on this server or another one."""
    return session.value(_IDENTITY)
