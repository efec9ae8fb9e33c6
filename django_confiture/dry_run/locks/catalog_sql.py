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
select wanted.name, c.oid, c.relkind,
  case when c.relkind in ('i', 'I')
    then (select i.indrelid from pg_catalog.pg_index i where i.indexrelid = c.oid)
    else c.oid end,
  c.relhassubclass, c.relhastriggers
from (
  select name, pg_catalog.to_regclass(name) as oid
  from pg_catalog.json_array_elements_text($1::pg_catalog.json) as given (name)) as wanted
cross join lateral (
  select oid, relkind, relhassubclass, relhastriggers
  from pg_catalog.pg_class where oid = wanted.oid limit 1) as c
where c.oid >= {FIRST_NORMAL_OID}
"""

# $1: OIDs of relations. Gives the partitions and inheritance children of all levels.
DESCENDANTS = """
with recursive below (oid) as (
  select inhrelid from pg_catalog.pg_inherits where inhparent = any ($1::pg_catalog.oid[])
  union
  select i.inhrelid from pg_catalog.pg_inherits i join below on i.inhparent = below.oid)
select oid from below
"""

# $1: OIDs of relations.
LOCKABLE = """
select oid from pg_catalog.pg_class
where oid = any ($1::pg_catalog.oid[]) and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
"""

# $1: OIDs of partitioned tables. Gives the default partition of each that has one.
DEFAULT_PARTITIONS = """
select partdefid from pg_catalog.pg_partitioned_table
where partrelid = any ($1::pg_catalog.oid[]) and partdefid <> 0
"""

# $1: OIDs of relations. Gives (relation, what reading it locks): itself, its children, and
# everything below it if it is a view; kind; whether it is a partition or inheritance child. A
# materialized view is read like a table, unless $2 is 1 (REFRESH).
READS = f"""
with recursive used (root, oid) as (
  select oid, oid from pg_catalog.pg_class where oid = any ($1::pg_catalog.oid[])
  union
  select used.root, next.oid from used cross join lateral (
    select inhrelid from pg_catalog.pg_inherits where inhparent = used.oid
    union all
    select d.refobjid from pg_catalog.pg_rewrite r
    join pg_catalog.pg_class v on v.oid = r.ev_class
    join pg_catalog.pg_depend d on d.objid = r.oid
      and d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
      and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    where r.ev_class = used.oid and r.ev_type = '1'
      and (v.relkind = 'v' or (v.relkind = 'm' and used.oid = used.root and $2 = 1))
  ) as next (oid))
select used.root, used.oid, c.relkind,
  exists (select from pg_catalog.pg_inherits i where i.inhrelid = used.oid)
from used join pg_catalog.pg_class c on c.oid = used.oid
where used.oid >= {FIRST_NORMAL_OID} and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
"""

# $1: OIDs of tables. Gives every foreign key from or to one of them; columns as JSON arrays.
FOREIGN_KEYS = """
select con.conrelid, con.confrelid, con.condeferred,
  con.confupdtype, con.confdeltype,
  (select pg_catalog.json_agg(a.attname) from pg_catalog.pg_attribute a
   where a.attrelid = con.conrelid and a.attnum = any (con.conkey)),
  (select pg_catalog.json_agg(a.attname) from pg_catalog.pg_attribute a
   where a.attrelid = con.confrelid and a.attnum = any (con.confkey))
from pg_catalog.pg_constraint con
where con.contype = 'f'
  and (con.conrelid = any ($1::pg_catalog.oid[]) or con.confrelid = any ($1::pg_catalog.oid[]))
"""

# $1: OIDs of tables, $2: name of a constraint.
CONSTRAINTS = """
select oid, conrelid, contype, confrelid, convalidated, connoinherit
from pg_catalog.pg_constraint where conrelid = any ($1::pg_catalog.oid[]) and conname = $2
"""

# $1: OIDs of tables, $2: name of a column or NULL for all. Gives the sequences; 'a' is
# serial or OWNED BY, 'i' is identity.
OWNED_SEQUENCES = """
select d.objid
from pg_catalog.pg_depend d
join pg_catalog.pg_class s on s.oid = d.objid and s.relkind = 'S'
left join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  and d.refobjid = any ($1::pg_catalog.oid[]) and d.deptype in ('a', 'i')
  and ($2::pg_catalog.text is null or a.attname = $2)
"""

# $1, $2, $3: what is about to be dropped, as arrays of catalogs' names, OIDs and column numbers.
# (Arrays, as the planner knows their length: a JSON array counts as 100 rows, which is enough to
# start the just-in-time compiler, for 140 ms.) Follows pg_depend as DROP CASCADE does: to all that
# depends on it, and from a part (a view's rule, a member of an extension) to its whole. The table
# that a foreign key refers to is reached through the key's triggers there, as only these lock it.
# Gives (relation, 1 if only its extended statistics go, else 0).
DROPPED = f"""
with recursive gone (classid, objid, objsubid) as (
  select pg_catalog.to_regclass('pg_catalog.' || catalog)::pg_catalog.oid, oid, attnum
  from unnest($1::pg_catalog.text[], $2::pg_catalog.oid[], $3::pg_catalog.int4[])
    as root (catalog, oid, attnum)
  union
  select next.* from gone g cross join lateral (
    select d.classid, d.objid, d.objsubid from pg_catalog.pg_depend d
    where d.refclassid = g.classid and d.refobjid = g.objid
      and (g.objsubid = 0 or d.refobjsubid = g.objsubid)
    union all
    select d.refclassid, d.refobjid, d.refobjsubid from pg_catalog.pg_depend d
    where d.classid = g.classid and d.objid = g.objid
      and (g.objsubid = 0 or d.objsubid = g.objsubid) and d.deptype in ('i', 'e')
  ) as next),
touched (oid, statistics) as (
  select coalesce(i.indrelid, g.objid), 0 from gone g
    left join pg_catalog.pg_index i on i.indexrelid = g.objid
    where g.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  union
  select c.conrelid, 0 from gone g join pg_catalog.pg_constraint c on c.oid = g.objid
    where g.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
  union
  select t.tgrelid, 0 from gone g join pg_catalog.pg_trigger t on t.oid = g.objid
    where g.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass
  union
  select r.ev_class, 0 from gone g join pg_catalog.pg_rewrite r on r.oid = g.objid
    where g.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
  union
  select d.adrelid, 0 from gone g join pg_catalog.pg_attrdef d on d.oid = g.objid
    where g.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
  union
  select p.polrelid, 0 from gone g join pg_catalog.pg_policy p on p.oid = g.objid
    where g.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
  union
  select parent.oid, 0 from gone g
    join pg_catalog.pg_class c on c.oid = g.objid and c.relispartition and c.relkind <> 'i'
    join pg_catalog.pg_inherits i on i.inhrelid = c.oid
    join pg_catalog.pg_partitioned_table p on p.partrelid = i.inhparent
    cross join lateral (values (p.partrelid), (p.partdefid)) as parent (oid)
    where g.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and g.objsubid = 0
  union
  select s.stxrelid, 1 from gone g join pg_catalog.pg_statistic_ext s on s.oid = g.objid
    where g.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass)
select t.oid, min(t.statistics)
from touched t join pg_catalog.pg_class c on c.oid = t.oid
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and t.oid >= {FIRST_NORMAL_OID}
group by t.oid
"""

# $1: OIDs of tables, $2: name of a column. Gives (table, attnum).
COLUMNS = """
select attrelid, attnum from pg_catalog.pg_attribute
where attrelid = any ($1::pg_catalog.oid[]) and attname = $2 and not attisdropped
"""

# $1: OIDs of tables, $2: name. One query for each kind of object that lives on a table.
ON_TABLE = {
    "pg_trigger": """
select oid from pg_catalog.pg_trigger
where tgrelid = any ($1::pg_catalog.oid[]) and tgname = $2
""",
    "pg_rewrite": """
select oid from pg_catalog.pg_rewrite
where ev_class = any ($1::pg_catalog.oid[]) and rulename = $2
""",
    "pg_policy": """
select oid from pg_catalog.pg_policy
where polrelid = any ($1::pg_catalog.oid[]) and polname = $2
""",
}

# $1: schema or NULL for the search path, $2: name, $3: JSON array of argument types or NULL.
ROUTINES = """
select p.oid from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.proname = $2
  and case when $1::pg_catalog.text is null then pg_catalog.pg_function_is_visible(p.oid)
      else n.nspname = $1 end
  and ($3::pg_catalog.json is null
    or coalesce(pg_catalog.array_to_string(p.proargtypes::pg_catalog.oid[], ','), '') = coalesce((
      select pg_catalog.string_agg(pg_catalog.to_regtype(name)::pg_catalog.oid::pg_catalog.text, ','
        order by position)
      from pg_catalog.json_array_elements_text($3::pg_catalog.json)
        with ordinality as wanted (name, position)), ''))
"""

# $1: schema or NULL for the search path, $2: name. Gives the extended statistics object.
STATISTICS = """
select s.oid from pg_catalog.pg_statistic_ext s
join pg_catalog.pg_namespace n on n.oid = s.stxnamespace
where s.stxname = $2
  and case when $1::pg_catalog.text is null then pg_catalog.pg_statistics_obj_is_visible(s.oid)
      else n.nspname = $1 end
"""

# $1: JSON array of names; those of types are quoted and go through the search path.
NAMED = {
    "pg_type": """
select pg_catalog.to_regtype(name)::pg_catalog.oid
from pg_catalog.json_array_elements_text($1::pg_catalog.json) as wanted (name)
where pg_catalog.to_regtype(name) is not null
""",
    "pg_namespace": """
select oid from pg_catalog.pg_namespace where nspname in (
  select name from pg_catalog.json_array_elements_text($1::pg_catalog.json) as wanted (name))
""",
    "pg_extension": """
select oid from pg_catalog.pg_extension where extname in (
  select name from pg_catalog.json_array_elements_text($1::pg_catalog.json) as wanted (name))
""",
}

# $1: JSON array of role names, where NULL is the current user. Gives (catalog, oid) of what they
# own in this database.
OWNED = """
select c.relname, d.objid from pg_catalog.pg_shdepend d
join pg_catalog.pg_class c on c.oid = d.classid
where d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and d.deptype = 'o'
  and d.dbid = (select oid from pg_catalog.pg_database where datname = current_database())
  and d.refobjid in (
    select coalesce(pg_catalog.to_regrole(pg_catalog.quote_ident(name)),
      pg_catalog.to_regrole(pg_catalog.quote_ident(current_user)))::pg_catalog.oid
    from pg_catalog.json_array_elements_text($1::pg_catalog.json) as wanted (name))
"""

# $1: OID of a domain. Gives the tables with a column of it, or of a domain over it.
TABLES_OF_DOMAIN = """
with recursive domains (oid) as (
  select $1::pg_catalog.oid
  union
  select t.oid from pg_catalog.pg_type t join domains on t.typbasetype = domains.oid
  where t.typtype = 'd')
select distinct d.objid from pg_catalog.pg_depend d join domains on d.refobjid = domains.oid
join pg_catalog.pg_class c on c.oid = d.objid and c.relkind in ('r', 'p', 'm')
where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid > 0
  and d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
"""

# $1: OID of a composite type's pg_class row. Gives the tables that were made OF it.
TYPED_TABLES = """
select t.oid from pg_catalog.pg_class t join pg_catalog.pg_class c on c.reltype = t.reloftype
where c.oid = $1::pg_catalog.oid
"""

# $1: name of a publication. Gives its tables.
PUBLISHED = """
select pr.prrelid from pg_catalog.pg_publication_rel pr
join pg_catalog.pg_publication p on p.oid = pr.prpubid where p.pubname = $1
"""

# $1: 'all', 'clustered' or a schema's name after 'schema '. Gives the tables that a maintenance
# command without a table's name works on.
ALL_TABLES = f"""
select c.oid from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm', 'p') and c.oid >= {FIRST_NORMAL_OID}
  and ($1 <> 'clustered' or exists (
    select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisclustered))
  -- REINDEX leaves out partitioned tables: their indexes have no storage.
  and ($1 not like 'schema %' or (n.nspname = pg_catalog.substr($1, 8) and c.relkind <> 'p'))
"""

# $1: JSON array of function names. Gives a row if one of them is, in any schema,
# a function whose body can hold statements.
USER_FUNCTIONS = f"""
select 1 from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
where l.lanname not in ('internal', 'c') and p.oid >= {FIRST_NORMAL_OID} and p.proname in (
  select name from pg_catalog.json_array_elements_text($1::pg_catalog.json) as wanted (name))
limit 1
"""

SERVER_VERSION = "select pg_catalog.current_setting('server_version_num')"
