"""What a rollback does not undo: the positions of sequences, and dead space."""

from __future__ import annotations

from collections.abc import Collection

from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.relations import Catalog
from django_confiture.dry_run.results import SequenceMove
from django_confiture.dry_run.server.side_channel import Session

Positions = dict[str, int | None]
"""Sequence, as reports name it → its last value."""

_SEQUENCES = """
SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname
            ELSE concat(n.nspname, '.', c.relname) END, s.last_value
FROM pg_catalog.pg_sequences s
JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.sequencename
"""


def sequence_positions(session: Session) -> Positions:
    """Return the last value of every sequence, None for one that was never used."""
    return {
        name or "": int(value) if value is not None else None
        for name, value in session.query(_SEQUENCES)
    }


def sequences_moved(database: str, before: Positions, after: Positions) -> tuple[SequenceMove, ...]:
    """Return the sequences that both readings know and that moved; nextval does not roll back."""
    return tuple(
        SequenceMove(database, name, position, after[name])
        for name, position in before.items()
        if name in after and after[name] != position
    )


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
        ["{" + ",".join(map(str, oids)) + "}"],
    )
    return sum(
        max(0, int(size or 0) - relations[int(oid or 0)].size)
        for oid, filenode, size in rows
        if int(filenode or 0) == relations[int(oid or 0)].filenode
    )
