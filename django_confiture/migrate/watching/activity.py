"""Which sessions block a session, which it blocks, and its progress, from PostgreSQL's views."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

# Usually no session waits for a lock, and then this is the only query. It doesn't read pg_locks,
# which copies every lock of the server while no one can take another: a plan may hold thousands.
_WAITING = """
SELECT count(*) FILTER (WHERE wait_event_type = 'Lock' AND pid = %(pid)s),
       count(*) FILTER (WHERE wait_event_type = 'Lock' AND pid <> %(pid)s),
       count(*) FILTER (WHERE query = '<insufficient privilege>')
FROM pg_catalog.pg_stat_get_activity(NULL) WHERE usesysid IS NOT NULL
"""

# A role without pg_read_all_stats doesn't see what the sessions of others wait for there.
_UNGRANTED = """
SELECT count(*) FILTER (WHERE pid = %(pid)s), count(*) FILTER (WHERE pid <> %(pid)s)
FROM pg_catalog.pg_locks WHERE NOT granted
"""

# A session that waits for a row waits for a transaction, with a tuple lock on the row's table.
_WAIT = """
SELECT coalesce(w.relation, t.relation)::pg_catalog.regclass::text, w.mode,
       coalesce(extract(epoch FROM clock_timestamp() - w.waitstart), 0)::float8 * 1000,
       coalesce(w.relation, t.relation)::bigint
FROM pg_catalog.pg_locks w
LEFT JOIN pg_catalog.pg_locks t ON t.pid = w.pid AND t.locktype = 'tuple' AND t.granted
WHERE w.pid = %(pid)s AND NOT w.granted LIMIT 1
"""

_BLOCKERS = """
SELECT DISTINCT a.pid, coalesce(a.application_name, ''), coalesce(a.usename::text, ''), a.state,
       extract(epoch FROM clock_timestamp() - a.query_start)::float8 * 1000,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 * 1000
FROM unnest(pg_catalog.pg_blocking_pids(%(pid)s)) AS blocking (pid)
JOIN pg_catalog.pg_stat_activity a USING (pid) WHERE a.pid <> %(guard)s ORDER BY a.pid
"""

# A prepared transaction holds locks without a session: pg_blocking_pids calls it process 0.
_PREPARED = """
SELECT DISTINCT 0, 'prepared transaction ' || x.gid, x.owner::text, 'prepared', NULL::float8,
       extract(epoch FROM clock_timestamp() - x.prepared)::float8 * 1000
FROM pg_catalog.pg_locks w
JOIN pg_catalog.pg_locks h ON h.granted AND h.pid IS NULL
  AND (h.database, h.relation, h.transactionid) IS NOT DISTINCT FROM
      (w.database, w.relation, w.transactionid)
JOIN pg_catalog.pg_locks o ON o.pid IS NULL AND o.locktype = 'transactionid'
  AND o.virtualtransaction = h.virtualtransaction
JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = o.transactionid
WHERE w.pid = %(pid)s AND NOT w.granted AND 0 = ANY (pg_catalog.pg_blocking_pids(%(pid)s))
"""

# Autovacuum workers can wait. The session that waits is a parallel worker's leader, which itself
# waits for the worker alone. One that waits for a virtual transaction is building an index
# concurrently, and blocks no one.
WAITERS = """
WITH waiting AS MATERIALIZED (
  SELECT pid, min(waitstart) AS since, max(relation) AS relation FROM pg_catalog.pg_locks
  WHERE NOT granted AND waitstart IS NOT NULL AND locktype <> 'virtualxid' GROUP BY pid
), sessions AS (
  SELECT coalesce(a.leader_pid, w.pid) AS pid, min(w.since) AS since, max(w.relation) AS relation
  FROM waiting w LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
  WHERE (a.pid IS NULL OR a.usesysid IS NOT NULL) AND coalesce(a.leader_pid, w.pid) <> %(pid)s
    AND coalesce(a.leader_pid, w.pid) <> ALL (%(own)s)
    AND %(pid)s = ANY (pg_catalog.pg_blocking_pids(w.pid))
  GROUP BY 1
)
SELECT s.pid, coalesce(a.application_name, ''), coalesce(a.usename::text, ''),
       extract(epoch FROM clock_timestamp() - s.since)::float8 * 1000,
       s.relation::pg_catalog.regclass::text
FROM sessions s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.pid
ORDER BY s.since, s.pid
"""

_PROGRESS = """
SELECT command, phase, greatest(blocks_done, tuples_done), greatest(blocks_total, tuples_total)
FROM pg_catalog.pg_stat_progress_create_index WHERE pid = %(pid)s
UNION ALL SELECT command, phase, heap_blks_scanned, heap_blks_total
FROM pg_catalog.pg_stat_progress_cluster WHERE pid = %(pid)s
UNION ALL SELECT 'VACUUM', phase, heap_blks_scanned, heap_blks_total
FROM pg_catalog.pg_stat_progress_vacuum WHERE pid = %(pid)s
UNION ALL SELECT 'ANALYZE', phase, sample_blks_scanned, sample_blks_total
FROM pg_catalog.pg_stat_progress_analyze WHERE pid = %(pid)s
UNION ALL SELECT command, '', bytes_processed, bytes_total
FROM pg_catalog.pg_stat_progress_copy WHERE pid = %(pid)s
"""

DOING = """
SELECT coalesce(state, ''), coalesce(query, ''),
       extract(epoch FROM clock_timestamp() - query_start)::float8 * 1000,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 * 1000,
       extract(epoch FROM xact_start)::float8
FROM pg_catalog.pg_stat_activity WHERE pid = %(pid)s
"""


@dataclass(frozen=True)
class Blocker:
    """A session that holds a lock that another one waits for."""

    pid: int
    """The server process; 0 for a prepared transaction, which has none."""
    application_name: str
    user: str
    state: str | None
    """PostgreSQL's word; None where the role may not see it."""
    query_ms: float | None
    transaction_ms: float | None

    @property
    def name(self) -> str:
        """Its application name if it has one, else its user and process, or what it is."""
        if self.application_name or not self.pid:
            return self.application_name
        return f"{self.user}, pid {self.pid}" if self.user else "autovacuum"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that log events and JSON have for it."""
        found = asdict(self)
        for name in ("query_ms", "transaction_ms"):
            found[name] = None if found[name] is None else round(found[name])
        return found


@dataclass(frozen=True)
class Wait:
    """The lock that a session waits for, and the sessions that hold it."""

    relation: str | None
    """None where it waits for another transaction to end; in quotes if it needs them."""
    mode: str
    waited_ms: float
    blocked_by: tuple[Blocker, ...]
    oid: int | None = None
    """The relation's."""


@dataclass(frozen=True)
class Waiter:
    """A session that waits for the watched one."""

    pid: int
    application_name: str
    user: str
    waited_ms: float
    relation: str | None

    @property
    def name(self) -> str:
        """Its application name if it has one, else its user and process."""
        return self.application_name or f"{self.user}, pid {self.pid}"


@dataclass(frozen=True)
class Progress:
    """The progress of a command, as PostgreSQL reports it."""

    command: str
    phase: str
    done: int
    total: int
    """Blocks, tuples or bytes, by the phase; 0 where it is not known."""


@dataclass(frozen=True)
class Doing:
    """The statement of a session, and how long it and its transaction have run."""

    state: str
    statement: str
    statement_ms: float | None
    transaction_ms: float | None
    transaction_began: float | None
    """Seconds since the epoch, as the server says it."""


@dataclass(frozen=True)
class GaveWay:
    """Why and where an attempt was ended."""

    waiters: tuple[Waiter, ...]
    doing: Doing
    was_stopped: bool = False
    """Whether the server ended it, as the process that migrates did nothing any more."""


def anyone_waits(raw: psycopg.Connection[Any], pid: int) -> tuple[bool, bool]:
    """Return whether a session waits for a lock, and whether any other session does."""
    row = raw.execute(_WAITING, {"pid": pid}).fetchone()
    assert row is not None
    if row[2]:
        row = raw.execute(_UNGRANTED, {"pid": pid}).fetchone()
        assert row is not None
    return bool(row[0]), bool(row[1])


def what_it_waits_for(raw: psycopg.Connection[Any], pid: int, *, guard: int = 0) -> Wait | None:
    """Return the lock that a session waits for, None if it waits for none.

    Without a blocker the wait has ended between two queries. ``guard`` is a server process that
    holds each snapshot for a moment only, so that CONCURRENTLY hardly waits for it.
    """
    row = raw.execute(_WAIT, {"pid": pid}).fetchone()
    if row is None:
        return None
    blockers = [
        *raw.execute(_BLOCKERS, {"pid": pid, "guard": guard}),
        *raw.execute(_PREPARED, {"pid": pid}),
    ]
    if not blockers:
        return None
    relation, mode, waited_ms, oid = row
    return Wait(relation, mode, waited_ms, tuple(Blocker(*each) for each in blockers), oid)


def who_waits_for_it(
    raw: psycopg.Connection[Any], pid: int, *, own_pids: Collection[int] = ()
) -> tuple[Waiter, ...]:
    """Return the sessions that wait for a session, without ``own_pids``; the longest wait first."""
    rows = raw.execute(WAITERS, {"pid": pid, "own": list(own_pids)})
    return tuple(Waiter(*row) for row in rows)


def progress_of(raw: psycopg.Connection[Any], pid: int) -> Progress | None:
    """Return the progress of the index build, table rewrite or vacuum that a session runs."""
    row = raw.execute(_PROGRESS, {"pid": pid}).fetchone()
    return Progress(*row) if row else None


def what_it_does(raw: psycopg.Connection[Any], pid: int) -> Doing | None:
    """Return the statement that a session runs or ran last; None if there is no such session."""
    row = raw.execute(DOING, {"pid": pid}).fetchone()
    return Doing(*row) if row else None
