"""Reads through indexes that amount to a full scan of the table.

PostgreSQL counts a full scan of a table as one. It doesn't count as one what reads all of it in
the order of an index, by a bitmap, or from the index alone; but each index has its own counters.
"""

from __future__ import annotations

from django_confiture.dry_run.measuring.counters import IndexCounters
from django_confiture.dry_run.measuring.relations import Observed, Relation

_SHARE = 0.1
"""The part of a table's rows from which on reading them is a scan of it. A tenth, not a half,
since parallel workers don't report what they read: only the leader's part is seen."""

_BYTES_A_ROW = 100
"""A guess for tables that were never analyzed."""


def read_through_indexes(
    relation: Relation, old: Observed, new: Observed, runs: int
) -> tuple[int, float] | None:
    """Return (rows, passes) where one run read much of a table through its indexes.

    One row for each descent is a lookup: by primary key, of a foreign key, for ON CONFLICT.
    A part of the table is a part of a pass.
    """
    none = IndexCounters(unique=False)
    indexes = [
        counted.since(old.index_reads.get(oid, none)) for oid, counted in new.index_reads.items()
    ]
    known = _rows_known(relation, new)
    much = max(1, _SHARE * known)
    dead = relation.dead + new.counters.updated + new.counters.deleted > 0
    through = [_through(index, much, dead=dead) for index in indexes]
    by_bitmap = new.counters.fetched - old.counters.fetched
    lookups = sum(index.descents for index in indexes)
    if max(sum(beyond for _rows, beyond in through), by_bitmap - lookups) < much * runs:
        return None
    rows = max(sum(rows for rows, _beyond in through), by_bitmap)
    return rows, rows / known if known else 1


def _through(index: IndexCounters, much: float, *, dead: bool) -> tuple[int, int]:
    """Return the rows read through an index, and those beyond one for each descent."""
    lookups = index.unique and index.entries < much * index.descents
    # A lookup by a unique key passes the entries of dead versions of its row, so where there are
    # any, only those entries count that led to a live one.
    entries = index.fetched if lookups and dead else index.entries
    if entries <= index.descents:
        return 0, 0
    beyond = entries - index.descents
    return beyond + 1 if lookups else entries, beyond


def _rows_known(relation: Relation, seen: Observed) -> int:
    """Return about how many rows the table has: as of the last ANALYZE, and our own."""
    before = relation.rows if relation.rows >= 0 else relation.size // _BYTES_A_ROW
    return before + seen.counters.inserted
