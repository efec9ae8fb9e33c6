"""What :mod:`.tables` asks the server's catalogs."""

from __future__ import annotations

# $1: OIDs. $2: how many levels of foreign keys to follow, 1 for these tables alone.
# The foreign keys that lead to tables have no index: they are read once for all tables.
# What a column's type is comes from LATERAL with LIMIT 1, which is looked up by its OID: catalogs
# that were never analyzed mislead the planner into reading all types for each table.
TABLES = """
WITH RECURSIVE near (oid, level) AS (
  SELECT pg_catalog.unnest($1::oid[]), 1
  UNION
  SELECT f.confrelid, near.level + 1 FROM near JOIN pg_catalog.pg_constraint f
    ON f.conrelid = near.oid AND f.contype = 'f' AND f.conparentid = 0
  WHERE near.level < $2
), wanted (oids) AS (
  SELECT pg_catalog.array_agg(DISTINCT oid) FROM near
), key AS MATERIALIZED (
  SELECT f.oid, f.conrelid, f.confrelid, json_build_object('name', f.conname,
      'table', f.conrelid::bigint, 'target', f.confrelid::bigint, 'action', f.confdeltype,
      'columns', (SELECT json_agg(a.attname ORDER BY k.at) FROM unnest(f.conkey)
        WITH ORDINALITY k (attnum, at) JOIN pg_catalog.pg_attribute a
        ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
      'target_columns', (SELECT json_agg(a.attname ORDER BY k.at) FROM unnest(f.confkey)
        WITH ORDINALITY k (attnum, at) JOIN pg_catalog.pg_attribute a
        ON a.attrelid = f.confrelid AND a.attnum = k.attnum)) AS entry
  FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.conparentid = 0
    AND (f.conrelid = ANY ((SELECT oids FROM wanted)::oid[])
      OR f.confrelid = ANY ((SELECT oids FROM wanted)::oid[]))
), keys (oid, entries) AS MATERIALIZED (
  SELECT of.oid, json_agg(of.entry ORDER BY of.key) FROM (
    SELECT conrelid, oid, entry FROM key
    UNION ALL SELECT confrelid, oid, entry FROM key WHERE confrelid <> conrelid
  ) of (oid, key, entry) GROUP BY of.oid
)
SELECT json_build_object(
  'oid', c.oid::bigint, 'name', c.oid::regclass::text, 'kind', c.relkind,
  'is_empty', c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) = 0,
  'access', pg_catalog.concat_ws(' ', c.relrowsecurity, c.relforcerowsecurity,
    pg_catalog.has_table_privilege(c.oid, 'SELECT'),
    pg_catalog.has_table_privilege(c.oid, 'INSERT'),
    (SELECT bool_and(pg_catalog.has_sequence_privilege(s.oid, 'USAGE'))
      FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
      WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
        AND d.classid = 'pg_catalog.pg_class'::regclass)),
  'guards', pg_catalog.array_to_json(ARRAY(
    SELECT on_action.name
    FROM (VALUES ('insert', 4, '3'), ('update', 16, '2'), ('delete', 8, '4'))
      on_action (name, bit, event)
    WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid
        AND NOT t.tgisinternal AND t.tgtype & on_action.bit <> 0)
      OR EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid
        AND w.ev_type::text = on_action.event))),
  'columns', (SELECT json_agg(json_build_object(
      'name', a.attname, 'number', a.attnum,
      'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'base', b.typname, 'base_oid', b.oid::bigint, 'category', b.typcategory,
      'length', a.atttypmod,
      'folds', b.typname = 'citext' OR (a.attcollation >= 16384 AND EXISTS (
        SELECT FROM pg_catalog.pg_collation l
        WHERE l.oid = a.attcollation AND NOT l.collisdeterministic)),
      'not_null', a.attnotnull OR t.typnotnull, 'identity', a.attidentity,
      'generated', a.attgenerated, 'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
      'label', CASE WHEN b.typtype = 'e' THEN (SELECT e.enumlabel FROM pg_catalog.pg_enum e
        WHERE e.enumtypid = b.oid ORDER BY e.enumsortorder LIMIT 1) END) ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    CROSS JOIN LATERAL (SELECT oid, typbasetype, typnotnull FROM pg_catalog.pg_type
      WHERE oid = a.atttypid LIMIT 1) t
    CROSS JOIN LATERAL (SELECT oid, typname, typcategory, typtype FROM pg_catalog.pg_type
      WHERE oid = COALESCE(NULLIF(t.typbasetype, 0), t.oid) LIMIT 1) b
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'unique', (SELECT json_agg(json_build_object('primary', x.indisprimary,
      'deferrable', NOT x.indimmediate,
      'name', (SELECT i.relname FROM pg_catalog.pg_class i WHERE i.oid = x.indexrelid),
      'definition', pg_catalog.concat_ws(' ', x.indkey,
        pg_catalog.pg_get_expr(x.indexprs, x.indrelid),
        pg_catalog.pg_get_expr(x.indpred, x.indrelid)), 'columns',
      (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND (a.attnum = ANY (x.indkey) OR EXISTS (
          SELECT FROM pg_catalog.pg_depend p WHERE p.objid = x.indexrelid
            AND p.classid = 'pg_catalog.pg_class'::regclass
            AND p.refobjid = c.oid AND p.refobjsubid = a.attnum)))))
    FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid
      AND (x.indisunique OR x.indisexclusion)),
  'foreign_keys', keys.entries,
  'checks', (SELECT json_agg(json_build_object('name', k.name, 'part', k.part,
      'bound', k.bound, 'expression', k.expression, 'columns', k.columns))
    FROM (
      SELECT f.conname AS name, NULLIF(f.conrelid, c.oid)::bigint AS part,
        pg_catalog.pg_get_expr(p.relpartbound, p.oid) AS bound,
        pg_catalog.pg_get_expr(f.conbin, f.conrelid) AS expression,
        (SELECT json_agg(a.attname) FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey)) AS columns
      FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class p ON p.oid = f.conrelid
      WHERE f.contype = 'c' AND (f.conrelid = c.oid OR c.relkind = 'p' AND f.coninhcount = 0
        AND f.conrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(c.oid) WHERE isleaf))
      UNION ALL
      SELECT NULL, p.oid::bigint, pg_catalog.pg_get_expr(p.relpartbound, p.oid), NULL,
        json_build_array(a.attname)
      FROM pg_catalog.pg_partition_tree(c.oid) t
      JOIN pg_catalog.pg_class p ON p.oid = t.relid AND t.isleaf AND c.relkind = 'p'
      JOIN pg_catalog.pg_attribute a ON a.attrelid = p.oid AND a.attnotnull AND a.attnum > 0
      JOIN pg_catalog.pg_attribute w ON w.attrelid = c.oid AND w.attname = a.attname
        AND NOT w.attnotnull
      UNION ALL
      SELECT f.conname, NULL, NULL, NULL, json_build_array(a.attname)
      FROM pg_catalog.pg_attribute a
      JOIN pg_catalog.pg_constraint f ON f.contypid = a.atttypid AND f.contype = 'c'
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384
    ) k),
  'split_by', CASE WHEN c.relkind = 'p' THEN (
    SELECT json_agg(a.attname ORDER BY k.at) FROM pg_catalog.pg_partitioned_table s,
      unnest(s.partattrs::int2[]) WITH ORDINALITY k (attnum, at)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
    WHERE s.partrelid = c.oid) END)
FROM pg_catalog.pg_class c LEFT JOIN keys USING (oid)
WHERE c.oid = ANY ((SELECT oids FROM wanted)::oid[])
"""

# $1: quoted names. Those that exist, with the name that the reports print.
NAMED = """
SELECT given, pg_catalog.to_regclass(given)::oid, c.relkind,
  CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname::text
    ELSE n.nspname || '.' || c.relname END
FROM pg_catalog.unnest($1::text[]) given
JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(given)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""

# $1: OIDs of tables. What has rows of theirs: views that read them, tables whose partitions they
# are, and what has rows of those.
ABOVE = """
WITH RECURSIVE reading (oid) AS (
  SELECT pg_catalog.unnest($1::oid[])
  UNION
  SELECT above.oid FROM reading r CROSS JOIN LATERAL (
    SELECT w.ev_class FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
    WHERE d.refobjid = r.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
      AND d.classid = 'pg_catalog.pg_rewrite'::regclass
    UNION ALL
    SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.oid
  ) above (oid)
)
SELECT DISTINCT oid FROM reading
"""

# Tables and views of which a statement runs what no model shows; PostgreSQL's own have low OIDs.
WITH_CODE = """
SELECT t.tgrelid FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal
UNION SELECT w.ev_class FROM pg_catalog.pg_rewrite w
  WHERE w.rulename <> '_RETURN' AND w.ev_class >= 16384
UNION SELECT p.polrelid FROM pg_catalog.pg_policy p
"""


# $1: OIDs. The tables whose columns the sequences among them serve.
SERVED = """
SELECT d.refobjid FROM pg_catalog.pg_depend d
WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = ANY ($1::oid[])
  AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
UNION
SELECT f.adrelid FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid
WHERE d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refobjid = ANY ($1::oid[])
"""

# Tables with a column of a type, or with a default or CHECK by a function, that a user made.
BY_OTHERS = """
SELECT a.attrelid FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v')
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384
UNION
SELECT f.adrelid FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid
WHERE d.classid = 'pg_catalog.pg_attrdef'::regclass
  AND d.refclassid = 'pg_catalog.pg_proc'::regclass AND d.refobjid >= 16384
UNION
SELECT k.conrelid FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_constraint k ON k.oid = d.objid AND k.conrelid <> 0
WHERE d.classid = 'pg_catalog.pg_constraint'::regclass
  AND d.refclassid = 'pg_catalog.pg_proc'::regclass AND d.refobjid >= 16384
"""
