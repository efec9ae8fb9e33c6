"""Checks that a database can be cloned, made before anyone has to wait for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from django_confiture.dry_run.clone.aliases import APPLICATION_NAME
from django_confiture.exceptions import DryRunRefused
from django_confiture.formatting import count, size

if TYPE_CHECKING:
    from collections.abc import Collection

    import psycopg

_SOURCE = """
SELECT d.oid::bigint, d.datistemplate, pg_catalog.pg_get_userbyid(d.datdba),
  pg_catalog.pg_database_size(d.oid), pg_catalog.pg_is_in_recovery()
FROM pg_catalog.pg_database d WHERE d.datname = current_database()
"""

_RIGHTS = """
SELECT r.rolsuper OR r.rolcreatedb, pg_catalog.pg_has_role(d.datdba, 'USAGE'),
  current_user, pg_catalog.pg_get_userbyid(d.datdba)
FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
WHERE r.rolname = current_user AND d.oid = %s
"""

# An autovacuum worker gives way to CREATE DATABASE by itself.
_SESSIONS = """
SELECT a.pid, coalesce(a.application_name, ''), coalesce(a.usename, ''), a.backend_type,
  extract(epoch FROM clock_timestamp() - a.backend_start)::float8
FROM pg_catalog.pg_stat_activity a
WHERE a.datid = %s AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
UNION ALL
SELECT NULL, p.gid, p.owner::text, 'prepared transaction',
  extract(epoch FROM clock_timestamp() - p.prepared)::float8
FROM pg_catalog.pg_prepared_xacts p, pg_catalog.pg_database d
WHERE d.oid = %s AND p.database = d.datname
ORDER BY 5 DESC NULLS LAST
"""

_OWN_GONE_AFTER = 5.0
"""Seconds allowed for the sessions that this command has just closed to end."""

_OTHERS_GONE_AFTER = 1.0
"""Seconds allowed for a pool's other sessions, closed as well, and for short visits to end."""

_SHOWN = 5


@dataclass(frozen=True)
class Source:
    """The database that is copied."""

    alias: str
    name: str
    oid: int
    owner: str
    size: int

    @classmethod
    def of(cls, alias: str, conn: psycopg.Connection[Any]) -> Source:
        """Read it from a connection to it; refuse what can't be copied at all."""
        row: Any = conn.execute(_SOURCE).fetchone()
        oid, template, owner, bytes_, replica = row
        name = conn.info.dbname
        if replica:
            raise DryRunRefused(
                f"The database {alias!r} is on a replica, where nothing can be created; "
                "clone its primary, or restore a backup."
            )
        if template:
            raise DryRunRefused(
                f"The database {name} is a template, which others may copy at any moment and "
                "could not meanwhile; ALTER DATABASE ... IS_TEMPLATE false, or run without --clone."
            )
        return cls(alias, name, oid, owner, bytes_)


def check_rights(conn: psycopg.Connection[Any], source: Source) -> None:
    """Refuse where the role may not create a database, or not copy this one."""
    row: Any = conn.execute(_RIGHTS, [source.oid]).fetchone()
    creates, owns, user, owner = row
    if not creates:
        raise DryRunRefused(
            f"The role {user} may not create databases, which --clone needs; "
            f"ALTER ROLE ... CREATEDB, or run without --clone."
        )
    if not owns:
        raise DryRunRefused(
            f"The role {user} may not copy the database {source.name}, which belongs to {owner}; "
            f"GRANT {owner} TO {user}, or run without --clone."
        )


def check_space(conn: psycopg.Connection[Any], source: Source) -> None:
    """Refuse where the clone has no room on the disk; only a server on this machine tells."""
    free = _free_bytes(conn)
    if free is not None and free < source.size:
        raise DryRunRefused(
            f"A clone of {source.name} needs {size(source.size)}, and the server's disk has "
            f"{size(free)} free; make room, or run without --clone."
        )


def _free_bytes(conn: psycopg.Connection[Any]) -> int | None:
    if not conn.info.host.startswith("/"):
        return None
    row: Any = conn.execute(
        "SELECT CASE WHEN pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE')"
        " THEN current_setting('data_directory') END"
    ).fetchone()
    if row[0] is None:
        return None
    try:
        disk = os.statvfs(row[0])
    except (OSError, AttributeError):  # not ours to look into; Windows
        return None
    return disk.f_bavail * disk.f_frsize


def check_unused(conn: psycopg.Connection[Any], source: Source, own: Collection[int]) -> None:
    """Refuse where others are connected: to try would make new connections wait, and fail.

    ``own`` are sessions that were closed a moment ago. Looking makes no one wait.
    """
    started = monotonic()
    while sessions := conn.execute(_SESSIONS, [source.oid, source.oid]).fetchall():
        others = [s for s in sessions if s[0] not in own and s[1] != APPLICATION_NAME]
        if monotonic() - started > (_OTHERS_GONE_AFTER if others else _OWN_GONE_AFTER):
            raise DryRunRefused(in_use(source, others or sessions))
        sleep(0.01)


def in_use(source: Source, sessions: list[Any]) -> str:
    """Return the line that names the sessions in a database, which can't be copied meanwhile."""
    shown = [_session(*session) for session in sessions[:_SHOWN]]
    if len(sessions) > _SHOWN:
        shown.append(f"and {len(sessions) - _SHOWN} more")
    return (
        f"PostgreSQL copies a database only while no one is connected to it, and {source.name} "
        f"has {count(len(sessions), 'other session')}: {', '.join(shown)}. End them, or take "
        "--clone-of a database that no one uses."
    )


def _session(pid: int | None, application: str, user: str, kind: str, seconds: float | None) -> str:
    who = f"prepared transaction {application!r}" if pid is None else f"{pid}"
    about = [] if pid is None else [application or user or kind or "no name"]
    if seconds is not None:
        about.append(f"for {_age(seconds)}")
    return f"{who} ({', '.join(about)})"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
