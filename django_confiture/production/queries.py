"""The queries: PostgreSQL's catalogs and counters, which every role may read."""

from __future__ import annotations

from django_confiture.postgres import FIRST_NORMAL_OID

TIMEOUTS = """
SET TRANSACTION READ ONLY;
SET LOCAL lock_timeout = '500ms';
SET LOCAL statement_timeout = '15s'
"""

SERVER = """
SELECT pg_catalog.current_database(),
  pg_catalog.current_setting('server_version_num')::int,
  pg_catalog.pg_is_in_recovery(),
  pg_catalog.pg_database_size(pg_catalog.current_database()),
  extract(epoch FROM pg_catalog.clock_timestamp())::float8,
  (SELECT extract(epoch FROM stats_reset)::float8 FROM pg_catalog.pg_stat_database
   WHERE datname = pg_catalog.current_database())
"""

SETTINGS = """
SELECT name, setting, unit, vartype FROM pg_catalog.pg_settings WHERE name = ANY (%s) ORDER BY name
"""

# A role sees only its own sessions' times, but the virtual transactions of all sessions.
OLDEST_TRANSACTION = """
SELECT pg_catalog.max(extract(epoch FROM pg_catalog.clock_timestamp() - began))::float8,
  pg_catalog.count(*) FILTER (WHERE hidden) > 0
FROM (
  SELECT a.xact_start AS began, a.xact_start IS NULL AND a.backend_start IS NULL AS hidden
  FROM pg_catalog.pg_stat_activity a
  WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
    AND a.usesysid IS NOT NULL
    AND EXISTS (SELECT FROM pg_catalog.pg_locks l
      WHERE l.pid = a.pid AND l.locktype = 'virtualxid' AND l.granted
        AND l.mode = 'ExclusiveLock')
  UNION ALL
  SELECT prepared, false FROM pg_catalog.pg_prepared_xacts
  WHERE database = pg_catalog.current_database()
) open
"""

# pg_relation_size() waits for sessions that hold or want an ACCESS EXCLUSIVE lock.
RELATIONS = f"""
SELECT c.oid, n.nspname, c.relname, c.relkind,
  c.relkind IN ('r', 'm', 'p') AND pg_catalog.pg_table_is_visible(c.oid),
  c.reltuples::float8, c.reltoastrelid, c.relispartition,
  coalesce(
    CASE WHEN c.relkind IN ('p', 'I') THEN 0
      WHEN c.oid IN (SELECT l.relation FROM pg_catalog.pg_locks l
        WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
            WHERE d.datname = pg_catalog.current_database())) THEN NULL
      ELSE pg_catalog.pg_relation_size(c.oid) END,
    c.relpages::bigint * pg_catalog.current_setting('block_size')::bigint)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= {FIRST_NORMAL_OID} AND c.relpersistence <> 't'
  AND c.relkind IN ('r', 'm', 'p', 't', 'i', 'I')
ORDER BY n.nspname, c.relname
"""

INDEXES = f"""
SELECT i.indexrelid, i.indrelid, am.amname, i.indisunique, i.indpred IS NOT NULL, i.indisvalid,
  pg_catalog.array_agg(a.attname::text ORDER BY k.position)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_am am ON am.oid = c.relam
CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, position)
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
  AND k.number <> 0
WHERE i.indexrelid >= {FIRST_NORMAL_OID} AND c.relpersistence <> 't' AND k.position <= i.indnkeyatts
GROUP BY i.indexrelid, i.indrelid, am.amname, i.indisunique, i.indpred IS NOT NULL, i.indisvalid
"""

INHERITS = """
SELECT h.inhparent, h.inhrelid FROM pg_catalog.pg_inherits h
JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid WHERE c.relispartition
"""

COUNTERS = f"""
SELECT c.oid, pg_catalog.pg_stat_get_numscans(c.oid),
  pg_catalog.pg_stat_get_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_tuples_updated(c.oid)
  + pg_catalog.pg_stat_get_tuples_deleted(c.oid)
FROM pg_catalog.pg_class c
WHERE c.oid >= {FIRST_NORMAL_OID} AND c.relpersistence <> 't' AND c.relkind IN ('r', 'm', 'i')
"""

UPKEEP = f"""
SELECT c.oid, pg_catalog.pg_stat_get_live_tuples(c.oid), pg_catalog.pg_stat_get_dead_tuples(c.oid),
  pg_catalog.pg_stat_get_mod_since_analyze(c.oid),
  extract(epoch FROM pg_catalog.clock_timestamp() - greatest(
    pg_catalog.pg_stat_get_last_analyze_time(c.oid),
    pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid)))::float8,
  extract(epoch FROM pg_catalog.clock_timestamp() - greatest(
    pg_catalog.pg_stat_get_last_vacuum_time(c.oid),
    pg_catalog.pg_stat_get_last_autovacuum_time(c.oid)))::float8
FROM pg_catalog.pg_class c
WHERE c.oid >= {FIRST_NORMAL_OID} AND c.relpersistence <> 't' AND c.relkind IN ('r', 'm')
"""

CLOCK = "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8"
