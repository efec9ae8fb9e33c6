"""The other sessions of the server, and the room in its lock table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_confiture.dry_run.results import LockCapacity, OtherSession
from django_confiture.dry_run.server.side_channel import array

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Row, Session

# $1: OIDs, $2: processes of our own. A prepared transaction has no process, but its locks.
_AT_WORK = """
SELECT DISTINCT l.relation, coalesce(l.pid::text, l.virtualtransaction), l.pid,
  coalesce(a.application_name, ''),
  CASE WHEN l.pid IS NULL THEN 'prepared' ELSE coalesce(a.state, '') END,
  extract(epoch FROM clock_timestamp() - a.xact_start)::float8 * 1000
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.relation = ANY ($1::oid[])
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND (l.pid IS NULL OR l.pid <> ALL ($2::int[]))
"""

# $1: processes of our own. A process that works for the server has no user.
_OLDEST = """
SELECT pid, application, state, extract(epoch FROM clock_timestamp() - since)::float8 * 1000 FROM (
  SELECT pid, coalesce(application_name, '') AS application, coalesce(state, '') AS state,
    xact_start AS since
  FROM pg_catalog.pg_stat_activity
  WHERE datname = current_database() AND usesysid IS NOT NULL AND pid <> ALL ($1::int[])
  UNION ALL
  SELECT NULL, '', 'prepared', prepared
  FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()
) AS open WHERE since IS NOT NULL ORDER BY since LIMIT 1
"""

# Of a session that a role may not inspect, all columns are NULL but those that identify it.
_HIDDEN = """
SELECT count(*) FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND usesysid IS NOT NULL AND backend_type IS NULL
"""

# What PostgreSQL reserves: NLOCKENTS in its sources. PostgreSQL 18 counts slots of autovacuum.
_CAPACITY = """
SELECT s.per_session * (s.connections + s.prepared + s.autovacuum + s.workers + s.senders),
  (SELECT count(DISTINCT (locktype, database, relation, page, tuple, virtualxid,
     transactionid::text, classid, objid, objsubid))
   FROM pg_catalog.pg_locks WHERE NOT fastpath AND pid IS DISTINCT FROM pg_backend_pid())
FROM (SELECT
  current_setting('max_locks_per_transaction')::bigint AS per_session,
  current_setting('max_connections')::int AS connections,
  current_setting('max_prepared_transactions')::int AS prepared,
  coalesce(current_setting('autovacuum_worker_slots', true),
    current_setting('autovacuum_max_workers'))::int + 1 AS autovacuum,
  current_setting('max_worker_processes')::int AS workers,
  current_setting('max_wal_senders')::int AS senders) AS s
"""


@dataclass(frozen=True)
class Others:
    """The sessions at work on the plan's tables, and the oldest transactions."""

    on_table: Mapping[int, int]
    """The OID of a table of the plan → how many sessions are at work on it."""
    sessions: int
    longest: OtherSession | None
    oldest: OtherSession | None
    hidden: int


def others_at_work(session: Session, roots: Mapping[int, int], own_pids: Collection[int]) -> Others:
    """Return the sessions at work on tables, and the oldest transaction of the database.

    ``roots`` holds each table, and each partition or child of one, with the table that it is of.
    """
    own = array(own_pids)
    at_work = session.query(_AT_WORK, [array(roots), own])
    who: dict[str, OtherSession] = {}
    pairs: set[tuple[int, str]] = set()
    for relation, key, *rest in at_work:
        who[key or ""] = _other(rest)
        pairs.add((roots[int(relation or 0)], key or ""))
    known = [each for each in who.values() if each.transaction_ms is not None]
    oldest = session.query(_OLDEST, [own])
    return Others(
        on_table=Counter(root for root, _key in pairs),
        sessions=len(who),
        longest=max(known, key=lambda each: each.transaction_ms or 0, default=None),
        oldest=_other(oldest[0]) if oldest else None,
        hidden=int(session.value(_HIDDEN)),
    )


def lock_capacity(session: Session, needed: int) -> LockCapacity:
    """Return whether the lock table has room for ``needed`` more."""
    capacity, taken = session.query(_CAPACITY)[0]
    return LockCapacity(needed, int(taken or 0), int(capacity or 0))


def _other(row: Row | Sequence[str | None]) -> OtherSession:
    pid, application, state, ms = row
    return OtherSession(
        None if pid is None else int(pid),
        application or "",
        state or "",
        None if ms is None else float(ms),
    )
