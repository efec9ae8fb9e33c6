"""The catalog queries behind ``Lookup``.

All names are schema-qualified, so that a migration's ``search_path`` cannot redirect them. Lists of
OIDs arrive as an array literal, lists of names as JSON. A lookup must never
raise (it would abort the migration's transaction), so names go through ``to_reg*``, which return
NULL for what does not exist, and never through a cast to ``reg*``.
"""

from __future__ import annotations

from django_confiture.postgres import FIRST_NORMAL_OID

# $1: JSON array of quoted names. Gives name, oid, kind, the table of an index, whether it has (had)
# children, whether it has (had) triggers. System catalogs do not count. The shape is for the
# planner, which takes half of the time: no join that it could turn round.
RELATIONS = f"""
SELECT wanted.name, c.oid, c.relkind,
  CASE WHEN c.relkind IN ('i', 'I')
    THEN (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = c.oid)
    ELSE c.oid END,
  c.relhassubclass, c.relhastriggers
FROM (
  SELECT name, pg_catalog.to_regclass(name) AS oid
  FROM pg_catalog.json_array_elements_text($1::pg_catalog.json) AS given (name)) AS wanted
CROSS JOIN LATERAL (
  SELECT oid, relkind, relhassubclass, relhastriggers
  FROM pg_catalog.pg_class WHERE oid = wanted.oid LIMIT 1) AS c
WHERE c.oid >= {FIRST_NORMAL_OID}
"""

# $1: OIDs of relations. Gives the partitions and inheritance children of all levels.
DESCENDANTS = """
WITH RECURSIVE below (oid) AS (
  SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = ANY ($1::pg_catalog.oid[])
  UNION
  SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN below ON i.inhparent = below.oid)
SELECT oid FROM below
"""

# $1: OIDs of relations.
LOCKABLE = """
SELECT oid FROM pg_catalog.pg_class
WHERE oid = ANY ($1::pg_catalog.oid[]) AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
"""

# $1: OIDs of partitioned tables. Gives the default partition of each that has one.
DEFAULT_PARTITIONS = """
SELECT partdefid FROM pg_catalog.pg_partitioned_table
WHERE partrelid = ANY ($1::pg_catalog.oid[]) AND partdefid <> 0
"""

# $1: OIDs of relations. Gives (relation, what reading it locks): itself, its children, and
# everything below it if it is a view; kind; whether it is a partition or inheritance child. A
# materialized view is read like a table, unless $2 is 1 (REFRESH).
READS = f"""
WITH RECURSIVE used (root, oid) AS (
  SELECT oid, oid FROM pg_catalog.pg_class WHERE oid = ANY ($1::pg_catalog.oid[])
  UNION
  SELECT used.root, next.oid FROM used CROSS JOIN LATERAL (
    SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = used.oid
    UNION ALL
    SELECT d.refobjid FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
    JOIN pg_catalog.pg_depend d ON d.objid = r.oid
      AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    WHERE r.ev_class = used.oid AND r.ev_type = '1'
      AND (v.relkind = 'v' OR (v.relkind = 'm' AND used.oid = used.root AND $2 = 1))
  ) AS next (oid))
SELECT used.root, used.oid, c.relkind,
  EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = used.oid)
FROM used JOIN pg_catalog.pg_class c ON c.oid = used.oid
WHERE used.oid >= {FIRST_NORMAL_OID} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
"""

# $1: OIDs of tables. Gives every foreign key from or to one of them; columns as JSON arrays.
FOREIGN_KEYS = """
SELECT con.conrelid, con.confrelid, con.condeferred,
  con.confupdtype, con.confdeltype,
  (SELECT pg_catalog.json_agg(a.attname) FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = con.conrelid AND a.attnum = ANY (con.conkey)),
  (SELECT pg_catalog.json_agg(a.attname) FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = con.confrelid AND a.attnum = ANY (con.confkey))
FROM pg_catalog.pg_constraint con
WHERE con.contype = 'f'
  AND (con.conrelid = ANY ($1::pg_catalog.oid[]) OR con.confrelid = ANY ($1::pg_catalog.oid[]))
"""

# $1: OIDs of tables, $2: name of a constraint.
CONSTRAINTS = """
SELECT oid, conrelid, contype, confrelid, convalidated, connoinherit
FROM pg_catalog.pg_constraint WHERE conrelid = ANY ($1::pg_catalog.oid[]) AND conname = $2
"""

# $1: OIDs of tables, $2: name of a column or NULL for all. Gives the sequences; 'a' is
# serial or OWNED BY, 'i' is identity.
OWNED_SEQUENCES = """
SELECT d.objid
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.refobjid = ANY ($1::pg_catalog.oid[]) AND d.deptype IN ('a', 'i')
  AND ($2::pg_catalog.text IS NULL OR a.attname = $2)
"""

# $1, $2, $3: what is about to be dropped, as arrays of catalogs' names, OIDs and column numbers.
# (Arrays, as the planner knows their length: a JSON array counts as 100 rows, which is enough to
# start the just-in-time compiler, for 140 ms.) Follows pg_depend as DROP CASCADE does: to all that
# depends on it, and from a part (a view's rule, a member of an extension) to its whole. The table
# that a foreign key refers to is reached through the key's triggers there, as only these lock it.
# Gives (relation, '0') where that is locked whole, (relation, '1') where only its extended
# statistics go, and (table, '2', number, name) for each column that goes without its table.
DROPPED = f"""
WITH RECURSIVE gone (classid, objid, objsubid) AS (
  SELECT pg_catalog.to_regclass('pg_catalog.' || catalog)::pg_catalog.oid, oid, attnum
  FROM unnest($1::pg_catalog.text[], $2::pg_catalog.oid[], $3::pg_catalog.int4[])
    AS root (catalog, oid, attnum)
  UNION
  SELECT next.* FROM gone g CROSS JOIN LATERAL (
    SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d
    WHERE d.refclassid = g.classid AND d.refobjid = g.objid
      AND (g.objsubid = 0 OR d.refobjsubid = g.objsubid)
    UNION ALL
    SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d
    WHERE d.classid = g.classid AND d.objid = g.objid
      AND (g.objsubid = 0 OR d.objsubid = g.objsubid) AND d.deptype IN ('i', 'e')
  ) AS next),
touched (oid, statistics) AS (
  SELECT COALESCE(i.indrelid, g.objid), 0 FROM gone g
    LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = g.objid
    WHERE g.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  UNION
  SELECT c.conrelid, 0 FROM gone g JOIN pg_catalog.pg_constraint c ON c.oid = g.objid
    WHERE g.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
  UNION
  SELECT t.tgrelid, 0 FROM gone g JOIN pg_catalog.pg_trigger t ON t.oid = g.objid
    WHERE g.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass
  UNION
  SELECT r.ev_class, 0 FROM gone g JOIN pg_catalog.pg_rewrite r ON r.oid = g.objid
    WHERE g.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
  UNION
  SELECT d.adrelid, 0 FROM gone g JOIN pg_catalog.pg_attrdef d ON d.oid = g.objid
    WHERE g.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
  UNION
  SELECT p.polrelid, 0 FROM gone g JOIN pg_catalog.pg_policy p ON p.oid = g.objid
    WHERE g.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
  UNION
  SELECT parent.oid, 0 FROM gone g
    JOIN pg_catalog.pg_class c ON c.oid = g.objid AND c.relispartition AND c.relkind <> 'i'
    JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
    JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = i.inhparent
    CROSS JOIN LATERAL (VALUES (p.partrelid), (p.partdefid)) AS parent (oid)
    WHERE g.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND g.objsubid = 0
  UNION
  SELECT s.stxrelid, 1 FROM gone g JOIN pg_catalog.pg_statistic_ext s ON s.oid = g.objid
    WHERE g.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass)
SELECT t.oid, min(t.statistics), NULL, NULL
FROM touched t JOIN pg_catalog.pg_class c ON c.oid = t.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND t.oid >= {FIRST_NORMAL_OID}
GROUP BY t.oid
UNION ALL
SELECT g.objid, 2, a.attnum, a.attname FROM gone g
  JOIN pg_catalog.pg_class c ON c.oid = g.objid AND c.relkind IN ('r', 'p', 'f')
  JOIN pg_catalog.pg_attribute a ON a.attrelid = g.objid AND a.attnum = g.objsubid
WHERE g.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND g.objsubid > 0
  AND NOT EXISTS (SELECT FROM gone whole
    WHERE whole.classid = g.classid AND whole.objid = g.objid AND whole.objsubid = 0)
"""

# $1: OIDs of tables, $2: name of a column. Gives (table, attnum).
COLUMNS = """
SELECT attrelid, attnum FROM pg_catalog.pg_attribute
WHERE attrelid = ANY ($1::pg_catalog.oid[]) AND attname = $2 AND NOT attisdropped
"""

# $1: OIDs of tables, $2: name. One query for each kind of object that lives on a table.
ON_TABLE = {
    "pg_trigger": """
SELECT oid FROM pg_catalog.pg_trigger
WHERE tgrelid = ANY ($1::pg_catalog.oid[]) AND tgname = $2
""",
    "pg_rewrite": """
SELECT oid FROM pg_catalog.pg_rewrite
WHERE ev_class = ANY ($1::pg_catalog.oid[]) AND rulename = $2
""",
    "pg_policy": """
SELECT oid FROM pg_catalog.pg_policy
WHERE polrelid = ANY ($1::pg_catalog.oid[]) AND polname = $2
""",
}

# $1: schema or NULL for the search path, $2: name, $3: JSON array of argument types or NULL.
ROUTINES = """
SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname = $2
  AND CASE WHEN $1::pg_catalog.text IS NULL THEN pg_catalog.pg_function_is_visible(p.oid)
      ELSE n.nspname = $1 END
  AND ($3::pg_catalog.json IS NULL
    OR COALESCE(pg_catalog.array_to_string(p.proargtypes::pg_catalog.oid[], ','), '') = COALESCE((
      SELECT pg_catalog.string_agg(pg_catalog.to_regtype(name)::pg_catalog.oid::pg_catalog.text, ','
        ORDER BY position)
      FROM pg_catalog.json_array_elements_text($3::pg_catalog.json)
        WITH ORDINALITY AS wanted (name, position)), ''))
"""

# $1: schema or NULL for the search path, $2: name. Gives the extended statistics object.
STATISTICS = """
SELECT s.oid FROM pg_catalog.pg_statistic_ext s
JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
WHERE s.stxname = $2
  AND CASE WHEN $1::pg_catalog.text IS NULL THEN pg_catalog.pg_statistics_obj_is_visible(s.oid)
      ELSE n.nspname = $1 END
"""

# $1: JSON array of names; those of types are quoted and go through the search path.
NAMED = {
    "pg_type": """
SELECT pg_catalog.to_regtype(name)::pg_catalog.oid
FROM pg_catalog.json_array_elements_text($1::pg_catalog.json) AS wanted (name)
WHERE pg_catalog.to_regtype(name) IS NOT NULL
""",
    "pg_namespace": """
SELECT oid FROM pg_catalog.pg_namespace WHERE nspname IN (
  SELECT name FROM pg_catalog.json_array_elements_text($1::pg_catalog.json) AS wanted (name))
""",
    "pg_extension": """
SELECT oid FROM pg_catalog.pg_extension WHERE extname IN (
  SELECT name FROM pg_catalog.json_array_elements_text($1::pg_catalog.json) AS wanted (name))
""",
}

# $1: JSON array of role names, where NULL is the current user. Gives (catalog, oid) of what they
# own in this database.
OWNED = """
SELECT c.relname, d.objid FROM pg_catalog.pg_shdepend d
JOIN pg_catalog.pg_class c ON c.oid = d.classid
WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.deptype = 'o'
  AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND d.refobjid IN (
    SELECT COALESCE(pg_catalog.to_regrole(pg_catalog.quote_ident(name)),
      pg_catalog.to_regrole(pg_catalog.quote_ident(CURRENT_USER)))::pg_catalog.oid
    FROM pg_catalog.json_array_elements_text($1::pg_catalog.json) AS wanted (name))
"""

# $1: OID of a domain. Gives the tables with a column of it, or of a domain over it.
TABLES_OF_DOMAIN = """
WITH RECURSIVE domains (oid) AS (
  SELECT $1::pg_catalog.oid
  UNION
  SELECT t.oid FROM pg_catalog.pg_type t JOIN domains ON t.typbasetype = domains.oid
  WHERE t.typtype = 'd')
SELECT DISTINCT d.objid FROM pg_catalog.pg_depend d JOIN domains ON d.refobjid = domains.oid
JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'm')
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid > 0
  AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
"""

# $1: OID of a composite type's pg_class row. Gives the tables that were made OF it.
TYPED_TABLES = """
SELECT t.oid FROM pg_catalog.pg_class t JOIN pg_catalog.pg_class c ON c.reltype = t.reloftype
WHERE c.oid = $1::pg_catalog.oid
"""

# $1: name of a publication. Gives its tables.
PUBLISHED = """
SELECT pr.prrelid FROM pg_catalog.pg_publication_rel pr
JOIN pg_catalog.pg_publication p ON p.oid = pr.prpubid WHERE p.pubname = $1
"""

# $1: 'all', 'clustered' or a schema's name after 'schema '. Gives the tables that a maintenance
# command without a table's name works on.
ALL_TABLES = f"""
SELECT c.oid FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND c.oid >= {FIRST_NORMAL_OID}
  AND ($1 <> 'clustered' OR EXISTS (
    SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisclustered))
  -- REINDEX leaves out partitioned tables: their indexes have no storage.
  AND ($1 NOT LIKE 'schema %' OR (n.nspname = pg_catalog.substr($1, 8) AND c.relkind <> 'p'))
"""

# $1: JSON array of function names. Gives a row if one of them is, in any schema,
# a function whose body can hold statements.
USER_FUNCTIONS = f"""
SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE l.lanname NOT IN ('internal', 'c') AND p.oid >= {FIRST_NORMAL_OID} AND p.proname IN (
  SELECT name FROM pg_catalog.json_array_elements_text($1::pg_catalog.json) AS wanted (name))
LIMIT 1
"""

SERVER_VERSION = "SELECT pg_catalog.current_setting('server_version_num')"
