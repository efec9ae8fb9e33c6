"""Sequences that a probe moves: put back where no other session can have used them meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from django_confiture.dry_run.server.side_channel import Session

# $1: a table. Its sequences, and where each stands; NULL where it was never used.
_POSITIONS = """
SELECT s.oid, pg_catalog.pg_sequence_last_value(s.oid)
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $1 AND d.deptype IN ('a', 'i')
"""

# $1: a sequence, $2: its table, $3: where it stood. Only under a lock that keeps others from
# inserting: else a number that another session has got would be given again.
_PUT_BACK = """
SELECT pg_catalog.setval(q.seqrelid::regclass, COALESCE($3::bigint, q.seqstart),
  $3::bigint IS NOT NULL)
FROM pg_catalog.pg_sequence q
WHERE q.seqrelid = $1 AND EXISTS (
  SELECT FROM pg_catalog.pg_locks l
  WHERE l.pid = pg_catalog.pg_backend_pid() AND l.granted AND l.relation = $2
    AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
"""


@contextmanager
def sequences_kept(session: Session, tables: Iterable[int | None]) -> Iterator[None]:
    """Put the sequences of tables back where that can be done; the report names the others."""
    oids = [table for table in tables if table is not None]
    before = {oid: _positions(session, oid) for oid in oids}
    yield
    for oid in oids:
        for sequence, position in _positions(session, oid).items():
            if sequence in before[oid] and before[oid][sequence] != position:
                session.query(_PUT_BACK, [sequence, oid, before[oid][sequence]])


def _positions(session: Session, table: int) -> Mapping[str | None, str | None]:
    return {row[0]: row[1] for row in session.query(_POSITIONS, [table])}
