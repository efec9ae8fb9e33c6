"""What of a table decides which statements it takes, as one value that is compared later."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from django_confiture.dry_run.running_code.catalog.prepared import PreparedQuestions, Question
from django_confiture.dry_run.server.side_channel import Session, array
from django_confiture.postgres import POSTGRESQL_15, POSTGRESQL_18

# $1: quoted names. A table's answers depend on its partitions, a view's on what it reads, a
# column's default on its sequence, an enum's or domain's values on its labels and CHECKs. Names
# of constraints, statistics and indexes that refuse no row are left out. What a publication sends
# has to be told by its key: without one, UPDATE and DELETE fail. PostgreSQL 15 and 18 brought
# what stands in braces.
_FACTS = """
WITH RECURSIVE given (name, oid) AS (
  SELECT name, pg_catalog.to_regclass(name)::oid FROM pg_catalog.unnest($1::text[]) name
), part (name, oid) AS (
  SELECT name, oid FROM given WHERE oid IS NOT NULL
  UNION
  SELECT part.name, below.oid FROM part CROSS JOIN LATERAL (
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = part.oid
    UNION ALL
    SELECT d.refobjid FROM pg_catalog.pg_rewrite w
    JOIN pg_catalog.pg_depend d ON d.objid = w.oid
      AND d.classid = 'pg_catalog.pg_rewrite'::regclass
      AND d.refclassid = 'pg_catalog.pg_class'::regclass
    WHERE w.ev_class = part.oid
    UNION ALL
    SELECT s.oid FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    WHERE d.classid = 'pg_catalog.pg_class'::regclass
      AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = part.oid
  ) below (oid)
), wanted (oids) AS (
  SELECT pg_catalog.array_agg(DISTINCT oid) FROM part
), fact (oid, kind, what, name) AS (
  SELECT c.oid, 'c', pg_catalog.concat_ws(' ', c.relkind, c.relowner, c.relacl, c.relnamespace,
    c.relrowsecurity, c.relforcerowsecurity, c.relpartbound, c.reloptions,
    c.relispopulated, c.relreplident), c.relname
  FROM pg_catalog.pg_class c WHERE c.oid = ANY ((SELECT oids FROM wanted)::oid[])
  UNION ALL
  SELECT a.attrelid, 'a', pg_catalog.concat_ws(' ', a.attname, a.attnum, a.atttypid, a.atttypmod,
    a.attnotnull, a.attidentity, a.attgenerated, a.attcollation, a.attacl), ''
  FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = ANY ((SELECT oids FROM wanted)::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT a.attrelid, 'y', pg_catalog.concat_ws(' ', a.attnum, t.oid, t.typnotnull, t.typdefault,
    (SELECT pg_catalog.string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder)
      FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
    (SELECT pg_catalog.string_agg(k.conbin::text, ',' ORDER BY k.oid)
      FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid)), ''
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type g ON g.oid = a.atttypid
  JOIN pg_catalog.pg_type t ON t.oid = ANY (ARRAY[g.oid, g.typelem, g.typbasetype])
    AND t.typtype IN ('d', 'e')
  WHERE a.attrelid = ANY ((SELECT oids FROM wanted)::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
    AND a.atttypid >= 16384
  UNION ALL
  SELECT d.adrelid, 'd', pg_catalog.concat_ws(' ', d.adnum, d.adbin), ''
  FROM pg_catalog.pg_attrdef d WHERE d.adrelid = ANY ((SELECT oids FROM wanted)::oid[])
  UNION ALL
  SELECT k.conrelid, 'k', pg_catalog.concat_ws(' ', k.contype, k.condeferrable, k.condeferred,
    k.conkey, k.confrelid, k.confkey, k.confupdtype, k.confdeltype, k.confmatchtype, k.conbin,
    {enforced}), k.conname
  FROM pg_catalog.pg_constraint k
  WHERE k.conrelid = ANY ((SELECT oids FROM wanted)::oid[]) AND k.contype <> 'n'
  UNION ALL
  SELECT x.indrelid, 'x', pg_catalog.concat_ws(' ', x.indisunique, x.indimmediate,
    x.indisexclusion, x.indisvalid, x.indisready, x.indkey, x.indcollation, x.indclass,
    {nulls_not_distinct}, x.indexprs, x.indpred, x.indisreplident),
    (SELECT i.relname FROM pg_catalog.pg_class i WHERE i.oid = x.indexrelid)
  FROM pg_catalog.pg_index x
  WHERE x.indrelid = ANY ((SELECT oids FROM wanted)::oid[]) AND (x.indisunique
    OR x.indisexclusion OR x.indexprs IS NOT NULL OR x.indpred IS NOT NULL)
  UNION ALL
  SELECT t.tgrelid, 't', pg_catalog.concat_ws(' ', t.tgname, t.tgfoid, t.tgtype, t.tgenabled,
    t.tgattr, t.tgargs, t.tgqual, t.tgconstraint), ''
  FROM pg_catalog.pg_trigger t
  WHERE t.tgrelid = ANY ((SELECT oids FROM wanted)::oid[])
    AND (NOT t.tgisinternal OR t.tgenabled <> 'O')
  UNION ALL
  SELECT w.ev_class, 'w', pg_catalog.concat_ws(' ', w.rulename, w.ev_type, w.ev_enabled,
    w.is_instead, w.ev_qual, w.ev_action), ''
  FROM pg_catalog.pg_rewrite w WHERE w.ev_class = ANY ((SELECT oids FROM wanted)::oid[])
  UNION ALL
  SELECT p.polrelid, 'p', pg_catalog.concat_ws(' ', p.polname, p.polcmd, p.polpermissive,
    p.polroles, p.polqual, p.polwithcheck), ''
  FROM pg_catalog.pg_policy p WHERE p.polrelid = ANY ((SELECT oids FROM wanted)::oid[])
  UNION ALL
  SELECT c.oid, 'u', pg_catalog.concat_ws(' ', u.oid, u.pubupdate, u.pubdelete, {published}), ''
  FROM pg_catalog.pg_publication u
  JOIN pg_catalog.pg_class c ON c.oid = ANY ((SELECT oids FROM wanted)::oid[])
  LEFT JOIN pg_catalog.pg_publication_rel m ON m.prpubid = u.oid AND m.prrelid = c.oid
  WHERE u.puballtables OR m.oid IS NOT NULL {or_by_schema}
  UNION ALL
  SELECT s.seqrelid, 's', pg_catalog.concat_ws(' ', s.seqtypid, s.seqincrement, s.seqmax, s.seqmin,
    s.seqcycle), ''
  FROM pg_catalog.pg_sequence s WHERE s.seqrelid = ANY ((SELECT oids FROM wanted)::oid[])
  UNION ALL
  SELECT k.confrelid, 'r', pg_catalog.concat_ws(' ', k.conrelid, k.conkey, k.confkey,
    k.confupdtype, k.confdeltype), k.conname
  FROM pg_catalog.pg_constraint k
  WHERE k.confrelid = ANY ((SELECT oids FROM wanted)::oid[]) AND k.contype = 'f'
)
SELECT given.name, given.oid,
  pg_catalog.md5(string_agg(fact.kind || fact.oid || ' ' || fact.what, chr(10)
    ORDER BY fact.oid, fact.kind, fact.what) FILTER (WHERE fact.kind <> 'r')),
  pg_catalog.md5(string_agg(fact.oid || ' ' || fact.what, chr(10)
    ORDER BY fact.oid, fact.what) FILTER (WHERE fact.kind = 'r')),
  pg_catalog.md5(string_agg(fact.oid || ' ' || fact.name, chr(10)
    ORDER BY fact.oid, fact.kind, fact.name) FILTER (WHERE fact.name <> '')),
  pg_catalog.json_agg(fact.name) FILTER (WHERE fact.kind = 'c')
FROM given LEFT JOIN part USING (name) LEFT JOIN fact ON fact.oid = part.oid
GROUP BY given.name, given.oid
"""


_BY_SCHEMA = """
    OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace n
      WHERE n.pnpubid = u.oid AND n.pnnspid = c.relnamespace)
"""


_NONE: Mapping[int, str] = {}


@dataclass(frozen=True)
class TableFacts:
    """What a table was like at some moment."""

    own: str | None
    """Columns, constraints, triggers, rights; None where there is no such table."""
    referring: str | None
    """The foreign keys that lead to it: only a deletion meets them."""
    oid: int
    names: str | None
    """How its constraints and unique indexes are called: that decides nothing."""
    relations: frozenset[str]
    """The names, without a schema, of all that its facts are taken from: its partitions, too."""


@dataclass(frozen=True)
class Changes:
    """The tables that changed between two moments, as Django names them."""

    own: frozenset[str]
    """Those of which the columns, constraints, triggers or rights are other ones."""
    referring: frozenset[str]
    """Those that other foreign keys lead to."""


class CatalogFacts:
    """Reads the facts of tables, and tells what has changed since they were last read."""

    def __init__(self, session: Session, quote: Callable[[str], str]) -> None:
        self._questions = PreparedQuestions(session)
        self._quote = quote
        self._known: Mapping[str, TableFacts] = {}
        """By names in quotes."""
        self._unchanged: frozenset[int] = frozenset()
        version = session.raw.info.server_version
        sql = _FACTS.format(
            nulls_not_distinct="x.indnullsnotdistinct" if version >= POSTGRESQL_15 else "false",
            published="m.prqual, m.prattrs" if version >= POSTGRESQL_15 else "NULL",
            or_by_schema=_BY_SCHEMA if version >= POSTGRESQL_15 else "",
            enforced="k.conenforced" if version >= POSTGRESQL_18 else "true",
        )
        self._facts = Question("confiture_code_facts", "text[]", sql)

    def changes(self, names: Iterable[str], others: Mapping[int, str] = _NONE) -> Changes:
        """Read the facts of tables, as Django names them; those not read before have changed.

        Of ``others``, by OID with their names in quotes, only :attr:`unchanged` will tell.
        """
        wanted = {self._quote(name): name for name in names}
        known = {each.oid for quoted, each in self._known.items() if quoted in wanted}
        beside = [quoted for oid, quoted in others.items() if oid not in known]
        before, self._known = self._known, self._read_facts([*wanted, *beside])
        pairs = [(name, before.get(quoted), self._known[quoted]) for quoted, name in wanted.items()]
        self._unchanged = frozenset(
            now.oid for quoted, now in self._known.items() if before.get(quoted) == now
        )
        return Changes(
            frozenset(name for name, was, now in pairs if was is None or was.own != now.own),
            frozenset(
                name for name, was, now in pairs if was is None or was.referring != now.referring
            ),
        )

    @property
    def relations(self) -> frozenset[str]:
        """The names, without a schema, of what the last reading was taken from."""
        return frozenset().union(*(each.relations for each in self._known.values()))

    @property
    def unchanged(self) -> frozenset[int]:
        """The tables that were the same in the last two readings, with all names of theirs.

        Those of columns in other tables are not among them.
        """
        return self._unchanged

    def _read_facts(self, quoted: Collection[str]) -> Mapping[str, TableFacts]:
        rows = self._questions.rows(self._facts, array(quoted)) if quoted else []
        return {
            str(name): TableFacts(
                own, referring, int(oid or 0), names, frozenset(json.loads(relations or "[]"))
            )
            for name, oid, own, referring, names, relations in rows
        }
