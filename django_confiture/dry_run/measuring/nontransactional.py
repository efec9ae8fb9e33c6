"""What a rollback does not undo: the positions of sequences, dead rows, and dead space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from contextlib import suppress

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.relations import Catalog
from django_confiture.dry_run.results import SequenceMove
from django_confiture.dry_run.server.side_channel import Session, array
from django_confiture.postgres import FIRST_NORMAL_OID

Positions = dict[str, int | None]
"""Sequence, as reports name it → its last value."""

_SEQUENCES = """
SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname
            ELSE concat(n.nspname, '.', c.relname) END,
       CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE')
            THEN pg_catalog.pg_sequence_last_value(c.oid) END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND NOT pg_catalog.pg_is_other_temp_schema(n.oid)
"""
# Read once more: another session may have moved it since. Functions get OIDs of pg_sequence, as
# they fail for other relations, and PostgreSQL may call them before it joins.
_PUT_BACK = """
SELECT pg_catalog.setval(s.seqrelid::regclass, $1::bigint)
FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE s.seqrelid = ANY ($2::oid[])
  AND $3::text IN (concat(n.nspname, '.', c.relname),
    CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname::text END)
  AND CASE WHEN pg_catalog.has_sequence_privilege(s.seqrelid, 'UPDATE')
      AND pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT, USAGE')
    THEN coalesce((pg_catalog.pg_sequence_last_value(s.seqrelid) < $1::bigint)
      = (s.seqincrement > 0), true) END
"""
_VERSIONS = f"""
SELECT c.oid, c.relfilenode, pg_catalog.pg_stat_get_tuples_inserted(c.oid)
  + pg_catalog.pg_stat_get_tuples_updated(c.oid)
FROM pg_catalog.pg_class c WHERE c.oid >= {FIRST_NORMAL_OID} AND c.relkind IN ('r', 'm')
"""
_LOCKED = """
SELECT c.oid FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
WHERE l.pid = pg_catalog.pg_backend_pid() AND c.relkind = 'S'
"""


def sequence_positions(session: Session, among: Collection[int] | None = None) -> Positions:
    """Return the last value of every sequence, None for one that was never used.

    ``among`` are the OIDs of those to read; None reads all.
    """
    chosen = "" if among is None else " AND c.oid = ANY ($1::oid[])"
    given = [] if among is None else [array(among)]
    return {
        name or "": int(value) if value is not None else None
        for name, value in session.query(_SEQUENCES + chosen, given)
    }


class SequenceWatch:
    """Tells which sequences the transaction of a session has moved, once that is rolled back."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before = sequence_positions(session)
        self._locked: Collection[int] | None = None

    def ends(self) -> None:
        """Note which sequences the transaction has locked, as whatever moves one does."""
        if self._session.status == TransactionStatus.INTRANS:
            with suppress(psycopg.Error):  # the connection may be lost, which shows only here
                self._locked = [int(oid or 0) for (oid,) in self._session.query(_LOCKED)]

    def ended(self, database: str) -> tuple[tuple[SequenceMove, ...], tuple[SequenceMove, ...]]:
        """Return the sequences that moved, and those that were behind and are put back.

        They are looked for among all where the locks could not be read.
        """
        after = sequence_positions(self._session, self._locked)
        moved = sequences_moved(database, self._before, after)
        back = tuple(filter(self._put_back, moved))
        return tuple(each for each in moved if each not in back), back

    def _put_back(self, move: SequenceMove) -> bool:
        """Put a sequence where it began if it is behind that; return whether it was.

        It would hand out numbers that rows have. One that is ahead leaves a gap, and does no harm.
        """
        if move.before is None or self._locked is None:
            return False
        known = array(self._locked)
        return bool(self._session.query(_PUT_BACK, [move.before, known, move.sequence]))


def sequences_moved(database: str, before: Positions, after: Positions) -> tuple[SequenceMove, ...]:
    """Return the sequences that both readings know and that moved; nextval does not roll back."""
    return tuple(
        SequenceMove(database, name, position, after[name])
        for name, position in before.items()
        if name in after and after[name] != position
    )


def put_back_note(move: SequenceMove) -> str:
    """Return what a report says of a sequence that was put back."""
    return (
        f"The plan sets {move.sequence} back to {move.after or 'its start'}, at once and for all "
        f"sessions, and no rollback undoes that; the dry run has put it to {move.before} again."
    )


def versions_written(session: Session) -> Counter[tuple[int, int | None]]:
    """Count the versions of rows that all sessions have written, by table and file."""
    rows = session.query(_VERSIONS)
    return Counter({(int(oid or 0), int(file or 0)): int(n or 0) for oid, file, n in rows})


def dead_bytes(session: Session, catalog: Catalog, written: Collection[int]) -> int:
    """Return how much the ``written`` tables have grown: pages full of rows that never were.

    Call it before the rollback. A table that was rewritten gets its old file back.
    """
    if session.status != TransactionStatus.INTRANS or not written:
        return 0
    relations = catalog.relations
    oids = [oid for oid, r in relations.items() if oid in written or r.table in written]
    rows = session.query(
        "SELECT oid, relfilenode, pg_catalog.pg_relation_size(oid) FROM pg_catalog.pg_class"
        " WHERE oid = ANY ($1::oid[])",
        [array(oids)],
    )
    return sum(
        max(0, int(size or 0) - relations[int(oid or 0)].size)
        for oid, filenode, size in rows
        if int(filenode or 0) == relations[int(oid or 0)].filenode
    )
