"""Clones that a killed run left behind: recognized by more than their name, and dropped.

A clone is marked in the statement that makes it, so there is no moment in which it exists without
its mark: its connection limit is a number that follows from its name. As long as the run that made
it is alive, a session of it holds an advisory lock that follows from the name, too; the server
frees it with the session.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from django_confiture.formatting import count, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "confiture_clone_"
_NAME = re.compile(rf"{_PREFIX}[0-9a-f]{{12}}_")
_LIMIT = 63
"""Bytes of a name, with a NAMEDATALEN of 64."""

_INVALID = -2
"""The connection limit of a database whose DROP was interrupted; no one can connect to it."""

# An autovacuum worker gives way to DROP DATABASE by itself.
_CANDIDATES = """
SELECT d.datname, d.datconnlimit, pg_catalog.pg_has_role(d.datdba, 'USAGE'),
  EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.granted
    AND l.objsubid = 1 AND (l.classid::bigint << 32) | l.objid::bigint = %(key)s),
  (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid
    AND a.backend_type IS DISTINCT FROM 'autovacuum worker')
FROM pg_catalog.pg_database d WHERE d.datname = %(name)s
"""


def new_name(source: str) -> str:
    """Return a name for a clone of ``source``, within the server's limit."""
    start = f"{_PREFIX}{secrets.token_hex(6)}_"
    kept = source.encode()[: _LIMIT - len(start)].decode(errors="ignore")
    return start + kept


def connection_limit(name: str) -> int:
    """Return the connection limit that marks a clone; no one comes near it."""
    return 100_000 + zlib.crc32(name.encode()) % 900_000


def lock_key(name: str) -> int:
    """Return the key of the advisory lock that a living run holds."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


def drop_leftovers(conn: psycopg.Connection[Any]) -> Iterator[str]:
    """Drop the clones whose run is dead; yield a line for each that was found."""
    names = conn.execute(
        "SELECT datname FROM pg_catalog.pg_database WHERE starts_with(datname, %s)", [_PREFIX]
    ).fetchall()
    for (name,) in names:
        if _NAME.match(name):
            yield from _drop_if_dead(conn, name)


def _drop_if_dead(conn: psycopg.Connection[Any], name: str) -> Iterator[str]:
    found = conn.execute(_CANDIDATES, {"key": lock_key(name), "name": name}).fetchone()
    if found is None:
        return
    limit, owned, alive, sessions = found[1:]
    if alive or limit not in (connection_limit(name), _INVALID):
        return
    if sessions:
        yield f"Left {name}, a clone of an earlier run, in use by {count(sessions, 'session')}."
        return
    if not owned:
        yield f"Left {name}, a clone of an earlier run, as it belongs to another role."
        return
    try:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        reason = one_line(error)
        yield f"Could not drop {name}, a clone of an earlier run: {reason}"
    else:
        yield f"Dropped {name}, a clone that an earlier run left behind."
