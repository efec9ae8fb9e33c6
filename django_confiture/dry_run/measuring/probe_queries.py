"""The SQL of the snapshot at the start, and of the probes after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_confiture.postgres import FIRST_NORMAL_OID

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLUMNS = """
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relfilenode, c.reltuples::bigint,
       {visible}, {size}, i.indrelid, pg_catalog.pg_stat_get_dead_tuples(c.oid)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
"""

# Which relation a name alone finds, for all names at once: pg_table_is_visible() looks each up.
RELATIONS = f"""
WITH path AS MATERIALIZED (
  SELECT s.oid, p.place FROM pg_catalog.pg_namespace s
  JOIN unnest(pg_catalog.current_schemas(true)) WITH ORDINALITY p(name, place)
    ON p.name = s.nspname
), found AS MATERIALIZED (
  SELECT r.relname, min(path.place) AS place
  FROM pg_catalog.pg_class r JOIN path ON path.oid = r.relnamespace GROUP BY r.relname
), heap AS MATERIALIZED ({{heaps}})
{_COLUMNS.format(visible="coalesce(path.place = found.place, false)", size="{size}")}
LEFT JOIN path ON path.oid = c.relnamespace
LEFT JOIN found ON found.relname = c.relname
LEFT JOIN heap ON heap.oid = coalesce(i.indrelid, c.oid)
WHERE c.oid >= {FIRST_NORMAL_OID} AND c.relpersistence <> 't' AND n.nspname <> 'pg_toast'
  AND c.relname <> $1
"""

NEW_RELATIONS = f"""
{
    _COLUMNS.format(
        visible="pg_catalog.pg_table_is_visible(c.oid)", size="pg_catalog.pg_relation_size(c.oid)"
    )
}
WHERE c.oid > $1 AND c.relpersistence <> 't' AND c.relkind <> 'S'
"""
"""Relations that were made after the snapshot, whose last OID is the parameter."""

_PAGE = "pg_catalog.current_setting('block_size')::bigint"

# To measure a file, the server opens the relation, which takes most of the snapshot's time. A
# sequence has one page; a B-tree whose table has none was never filled, or VACUUM has counted its
# pages with the table's.
MEASURED = RELATIONS.format(
    heaps=f"""
      SELECT t.oid, pg_catalog.pg_relation_size(t.oid) AS size FROM pg_catalog.pg_class t
      WHERE t.oid >= {FIRST_NORMAL_OID} AND t.relkind IN ('r', 'm') AND t.relpersistence <> 't'
    """,
    size=f"""
      CASE WHEN c.relkind IN ('r', 'm') THEN heap.size
           WHEN c.relkind = 'S' THEN {_PAGE}
           WHEN c.relkind = 'i' AND heap.size = 0
             AND c.relam = (SELECT oid FROM pg_catalog.pg_am WHERE amname = 'btree')
             THEN greatest(c.relpages, 1) * {_PAGE}
           WHEN c.relkind = 'i' THEN pg_catalog.pg_relation_size(c.oid) END
    """,
)
IN_PAGES = RELATIONS.format(heaps="SELECT NULL::oid AS oid", size=f"c.relpages::bigint * {_PAGE}")

# The view with these figures adds up those of all indexes first.
_COUNTED = [
    f"pg_catalog.pg_stat_get_xact_{what}(c.oid)"
    for what in (
        "numscans",
        "tuples_returned",
        "tuples_inserted",
        "tuples_updated",
        "tuples_deleted",
        "tuples_fetched",
    )
]
COUNTERS = f"""
SELECT c.oid, {", ".join(_COUNTED)} FROM pg_catalog.pg_class c
WHERE c.oid >= {FIRST_NORMAL_OID} AND c.relkind IN ('r', 'p', 'm')
  AND {" + ".join(_COUNTED)} > 0
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

_OBJECTS = """
{when}(SELECT json_object_agg(x.relname, x.relfilenode::bigint) FROM pg_catalog.pg_index i
   JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = h.oid){end},
{when}(SELECT json_object_agg(k.conname, k.convalidated) FROM pg_catalog.pg_constraint k
   WHERE k.conrelid = h.oid){end}, {asked}
"""

_ASKED = "h.oid IN ({}) OR EXISTS (SELECT FROM pg_catalog.pg_event_trigger)"


def objects(tables: Iterable[int] | None) -> str:
    """Return the columns for indexes and constraints of these tables, of all for None.

    A trigger of an event may change others: where there is one, it is all of them.
    """
    if tables is None:
        return _OBJECTS.format(when="", end="", asked="true")
    if oids := ", ".join(map(str, sorted(tables))):
        asked = _ASKED.format(oids)
        return _OBJECTS.format(when=f"CASE WHEN {asked} THEN ", end=" END", asked=asked)
    return "NULL, NULL, false"
