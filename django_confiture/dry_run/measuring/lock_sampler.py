"""Samples the locks of statements that can't run in a transaction, from another connection.

A transaction of ours around them is not possible, so nothing can be asked between the statement
and its end. The other connection is to another database: CREATE INDEX CONCURRENTLY waits for
every session with a snapshot in its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psycopg

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.measuring.counters import Counters
from django_confiture.dry_run.measuring.lock_timeline import LockTimeline, TableTime
from django_confiture.dry_run.measuring.relations import Catalog, Observed, Probe
from django_confiture.dry_run.measuring.stopwatch import Stopwatch
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.postgres import FIRST_NORMAL_OID

if TYPE_CHECKING:
    from collections.abc import Iterable

_POLL = 0.002
"""Seconds between two samples; a lock that is held for less may go unseen."""

Held = frozenset[tuple[int, str]]
"""(OID, mode)."""

_LOCKS = f"""
SELECT relation::bigint, mode FROM pg_catalog.pg_locks
WHERE pid = $1 AND locktype = 'relation' AND granted AND relation >= {FIRST_NORMAL_OID}
"""

# A clone has no other sessions, so these are the counters of the run.
_EVERYTHING = """
SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0'),
  (SELECT json_agg(json_build_array(c.oid::bigint, c.relfilenode::bigint,
     pg_catalog.{counters}_numscans(c.oid), pg_catalog.{counters}_tuples_returned(c.oid),
     pg_catalog.{counters}_tuples_inserted(c.oid), pg_catalog.{counters}_tuples_updated(c.oid),
     pg_catalog.{counters}_tuples_deleted(c.oid),
     (SELECT json_object_agg(x.relname, x.relfilenode::bigint) FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid),
     (SELECT json_object_agg(k.conname, k.convalidated) FROM pg_catalog.pg_constraint k
        WHERE k.conrelid = c.oid)))
   FROM pg_catalog.pg_class c WHERE c.oid >= {first} AND c.relkind NOT IN ('i', 'I'))
"""

_PENDING = """
SELECT relid, seq_scan, seq_tup_read, n_tup_ins, n_tup_upd, n_tup_del
FROM pg_catalog.pg_stat_xact_user_tables
"""

_INVALID = """
SELECT x.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
WHERE NOT i.indisvalid
"""


@dataclass
class Seen:
    """The locks that were seen, with when each was held, by ``perf_counter``."""

    started: float
    ended: float = 0.0
    changes: list[tuple[float, Held]] = field(default_factory=list)

    @property
    def ever(self) -> Held:
        """Every lock that was seen."""
        return frozenset(lock for _at, held in self.changes for lock in held)

    def by(self, clock: Stopwatch, started: float) -> Seen:
        """Return the same with times by ``clock``, which has run since ``started``."""

        def at(moment: float) -> float:
            return min(max(clock.at(moment), started), clock.now())

        changes = [(at(moment), held) for moment, held in self.changes]
        return Seen(started, at(self.ended), changes)

    def with_predicted(self, predicted: Iterable[tuple[int, str]]) -> Seen:
        """Add the locks that the statement takes but that were over between two samples."""
        missed = frozenset(predicted) - self.ever
        changes = [(self.started, missed), *((at, held | missed) for at, held in self.changes)]
        return replace(self, changes=changes)

    def tell(self, timeline: LockTimeline, known: Mapping[int, object], sql: str) -> None:
        """Add the times to a timeline."""
        for oid in {oid for oid, _mode in self.ever if oid in known}:
            table = timeline.tables.setdefault(oid, TableTime())
            before: frozenset[str] = frozenset()
            for at, held in (*self.changes, (self.ended, frozenset[tuple[int, str]]())):
                now = frozenset(mode for each, mode in held if each == oid)
                if before - now:
                    table.release(at, timeline.began)
                for mode in now - before if now >= before else now:
                    table.take(LockMode[mode], at, sql)
                before = now


class LockWatch:
    """Samples the locks of one session while a statement of it runs."""

    def __init__(self, connection: psycopg.Connection[Any], pid: int) -> None:
        self._session = Session(connection)
        self._pid = pid
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen = Seen(0.0)

    def start(self) -> None:
        """Start to sample."""
        self._stop.clear()
        self._seen = Seen(perf_counter())
        self._thread = threading.Thread(target=self._watch, name="confiture-locks", daemon=True)
        self._thread.start()

    def stop(self) -> Seen:
        """Return what was seen since the start."""
        self._seen.ended = perf_counter()
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        return self._seen

    def _watch(self) -> None:
        last: Held = frozenset()
        while not self._stop.is_set():
            try:
                rows = self._session.query(_LOCKS, [self._pid])
            except psycopg.Error:
                return  # the statement's text tells what it locks
            held = frozenset((int(oid or 0), mode or "") for oid, mode in rows)
            if held != last and not self._stop.is_set():
                self._seen.changes.append((perf_counter(), held))
                last = held
            self._stop.wait(_POLL)


def everything(catalog: Catalog, session: Session, *, flushed: bool) -> Probe:
    """Read all tables of the snapshot, locked or not; call it outside a transaction.

    ``flushed`` says that the session can be told to hand its counters over; where it can't,
    only those are read that it still has.
    """
    if flushed:
        session.query("SELECT pg_catalog.pg_stat_force_next_flush()")
    counters = "pg_stat_get" if flushed else "pg_stat_get_xact"
    wal, relations = session.query(_EVERYTHING.format(counters=counters, first=FIRST_NORMAL_OID))[0]
    return Probe(
        int(wal or 0),
        {
            row[0]: Observed(frozenset(), row[1], Counters(*row[2:7]), row[7] or {}, row[8] or {})
            for row in json.loads(relations or "[]")
            if row[0] in catalog.relations
        },
    )


def with_locks(after: Probe, before: Probe, held: Held, catalog: Catalog) -> Probe:
    """Return a reading with the locks that were seen, and passes instead of parallel workers.

    Each worker of an index build counts its own scan; together they read the table once.
    """
    modes: dict[int, set[str]] = {}
    for oid, mode in held:
        modes.setdefault(oid, set()).add(mode)
    relations = dict(after.relations)
    for oid, seen in after.relations.items():
        old = before.relations.get(oid)
        if old is None:
            continue
        wrote = seen.counters.since(old.counters)
        known = catalog.relations[oid].rows
        scans = wrote.scans
        if seen.indexes != old.indexes and known > 0 and scans > 1:
            scans = min(scans, max(1, round(wrote.returned / known)))
        counters = replace(seen.counters, scans=old.counters.scans + scans)
        relations[oid] = replace(seen, modes=frozenset(modes.get(oid, ())), counters=counters)
    for oid in before.relations.keys() - relations.keys() & modes.keys():
        gone = before.relations[oid]  # dropped
        relations[oid] = replace(gone, modes=frozenset(modes[oid]), filenode=None)
    return Probe(after.wal, relations)


def pending(session: Session) -> dict[int, Counters]:
    """Return what the session has counted and not handed over yet."""
    return {
        int(row[0] or 0): Counters(*(int(value or 0) for value in row[1:]))
        for row in session.query(_PENDING)
    }


def invalid_indexes(session: Session) -> Sequence[str]:
    """Return the indexes that take writes and serve no query."""
    return [name or "" for (name,) in session.query(_INVALID)]
