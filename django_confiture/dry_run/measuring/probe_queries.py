"""The SQL of the snapshot at the start, and of the probes after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_confiture.postgres import FIRST_NORMAL_OID

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLUMNS = """
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relfilenode, c.reltuples::bigint,
       pg_catalog.pg_table_is_visible(c.oid), {size}, i.indrelid,
       pg_catalog.pg_stat_get_dead_tuples(c.oid)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
"""

RELATIONS = f"""
{_COLUMNS}
WHERE c.oid >= {FIRST_NORMAL_OID} AND c.relpersistence <> 't' AND n.nspname <> 'pg_toast'
  AND c.relname <> $1
"""

NEW_RELATIONS = f"""
{_COLUMNS.format(size="pg_catalog.pg_relation_size(c.oid)")}
WHERE c.oid > $1 AND c.relpersistence <> 't' AND c.relkind <> 'S'
"""
"""Relations that were made after the snapshot, whose last OID is the parameter."""

MEASURED_SIZE = "pg_catalog.pg_relation_size(c.oid)"
SIZE_IN_PAGES = "c.relpages::bigint * pg_catalog.current_setting('block_size')::bigint"

COUNTERS = """
SELECT relid, seq_scan, seq_tup_read, n_tup_ins, n_tup_upd, n_tup_del,
       pg_catalog.pg_stat_get_xact_tuples_fetched(relid)
FROM pg_catalog.pg_stat_xact_user_tables
WHERE seq_scan + seq_tup_read + COALESCE(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd + n_tup_del > 0
"""

_INDEX_COUNTERS = """
i.indexrelid::bigint, i.indisunique, pg_catalog.pg_stat_get_xact_numscans(i.indexrelid),
pg_catalog.pg_stat_get_xact_tuples_returned(i.indexrelid),
pg_catalog.pg_stat_get_xact_tuples_fetched(i.indexrelid)
"""

_INDEX_WAS_READ = """
pg_catalog.pg_stat_get_xact_numscans(i.indexrelid)
  + pg_catalog.pg_stat_get_xact_tuples_returned(i.indexrelid) > 0
"""

INDEX_READS = f"""
SELECT json_agg(json_build_array(i.indrelid::bigint, {_INDEX_COUNTERS}))
FROM pg_catalog.pg_index i WHERE i.indexrelid >= {FIRST_NORMAL_OID} AND {_INDEX_WAS_READ}
"""

WAL_POSITION = "pg_catalog.pg_current_wal_insert_lsn()"
WAL = f"SELECT pg_catalog.pg_wal_lsn_diff({WAL_POSITION}, '0/0')"
"""The position of WAL insertion, in bytes."""

_OWN_LOCKS = """
SELECT l.relation, l.mode FROM pg_catalog.pg_locks l
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
  AND l.mode <> 'SIReadLock' AND ({known})
"""


def known(last: int, successors: Iterable[int]) -> str:
    """Return the condition for a lock on a relation of the snapshot, or on a later one of these."""
    later = "".join(f" OR l.relation = {oid}" for oid in successors)
    return f"l.relation BETWEEN {FIRST_NORMAL_OID} AND {last}{later}"


_ACTIVITY = f"""
concat_ws(' ', {WAL_POSITION}, (SELECT concat_ws(' ', count(*),
  sum(pg_catalog.pg_stat_get_xact_numscans(o.relation)
    + pg_catalog.pg_stat_get_xact_tuples_inserted(o.relation)
    + pg_catalog.pg_stat_get_xact_tuples_updated(o.relation)
    + pg_catalog.pg_stat_get_xact_tuples_deleted(o.relation))) FROM own o))
"""

ACTIVITY = f"WITH own AS MATERIALIZED ({_OWN_LOCKS}) SELECT {_ACTIVITY}"
"""A text that changes once this session has locked, read or written anything."""

GLANCE = f"""
WITH own AS MATERIALIZED ({_OWN_LOCKS})
SELECT pg_catalog.pg_wal_lsn_diff({WAL_POSITION}, '0/0'), {_ACTIVITY}
"""
"""The WAL's position and that text."""

LOCKED = f"""
WITH own AS MATERIALIZED ({_OWN_LOCKS}), held AS MATERIALIZED (
  SELECT relation AS oid, array_agg(DISTINCT mode) AS modes FROM own GROUP BY relation
)
SELECT pg_catalog.pg_wal_lsn_diff({WAL_POSITION}, '0/0'), {_ACTIVITY},
  (SELECT json_agg(json_build_array(h.oid::bigint, h.modes, c.relfilenode::bigint,
     pg_catalog.pg_stat_get_xact_numscans(h.oid),
     pg_catalog.pg_stat_get_xact_tuples_returned(h.oid),
     pg_catalog.pg_stat_get_xact_tuples_inserted(h.oid),
     pg_catalog.pg_stat_get_xact_tuples_updated(h.oid),
     pg_catalog.pg_stat_get_xact_tuples_deleted(h.oid),
     pg_catalog.pg_stat_get_xact_tuples_fetched(h.oid),
     (SELECT json_agg(json_build_array({_INDEX_COUNTERS}))
      FROM pg_catalog.pg_index i WHERE i.indrelid = h.oid AND {_INDEX_WAS_READ}), {{objects}}))
   FROM held h LEFT JOIN pg_catalog.pg_class c ON c.oid = h.oid
   WHERE c.relkind IS NULL OR c.relkind NOT IN ('i', 'I'))
"""

OBJECTS = """
(SELECT json_object_agg(x.relname, x.relfilenode::bigint) FROM pg_catalog.pg_index i
   JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = h.oid),
(SELECT json_object_agg(k.conname, k.convalidated) FROM pg_catalog.pg_constraint k
   WHERE k.conrelid = h.oid)
"""
