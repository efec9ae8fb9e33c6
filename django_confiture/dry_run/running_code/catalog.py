"""What the server's catalogs say about a table right now: columns, keys, references."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django_confiture.dry_run.server.side_channel import Session

_NEAR = 4
"""How many levels of foreign keys are looked up at once."""

# $1: OIDs.
_TABLES = """
SELECT json_build_object(
  'oid', c.oid::bigint, 'name', c.oid::regclass::text, 'kind', c.relkind,
  'is_empty', c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) = 0,
  'access', pg_catalog.concat_ws(' ', c.relrowsecurity, c.relforcerowsecurity,
    pg_catalog.has_table_privilege(c.oid, 'SELECT'),
    pg_catalog.has_table_privilege(c.oid, 'INSERT'),
    (SELECT bool_and(pg_catalog.has_sequence_privilege(s.oid, 'USAGE'))
      FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
      WHERE d.refobjid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass)),
  'columns', (SELECT json_agg(json_build_object(
      'name', a.attname, 'number', a.attnum,
      'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'base', b.typname, 'category', b.typcategory, 'length', a.atttypmod,
      'not_null', a.attnotnull OR t.typnotnull, 'identity', a.attidentity,
      'generated', a.attgenerated, 'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
      'label', (SELECT e.enumlabel FROM pg_catalog.pg_enum e WHERE e.enumtypid = b.oid
        ORDER BY e.enumsortorder LIMIT 1)) ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    JOIN pg_catalog.pg_type b ON b.oid = COALESCE(NULLIF(t.typbasetype, 0), t.oid)
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'unique', (SELECT json_agg(json_build_object('primary', x.indisprimary, 'columns',
      (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND (a.attnum = ANY (x.indkey) OR EXISTS (
          SELECT FROM pg_catalog.pg_depend p WHERE p.objid = x.indexrelid
            AND p.classid = 'pg_catalog.pg_class'::regclass
            AND p.refobjid = c.oid AND p.refobjsubid = a.attnum)))))
    FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid
      AND (x.indisunique OR x.indisexclusion)),
  'foreign_keys', (SELECT json_agg(json_build_object('name', f.conname,
      'table', f.conrelid::bigint, 'target', f.confrelid::bigint, 'action', f.confdeltype,
      'columns', (SELECT json_agg(a.attname ORDER BY k.at) FROM unnest(f.conkey)
        WITH ORDINALITY k (attnum, at) JOIN pg_catalog.pg_attribute a
        ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
      'target_columns', (SELECT json_agg(a.attname ORDER BY k.at) FROM unnest(f.confkey)
        WITH ORDINALITY k (attnum, at) JOIN pg_catalog.pg_attribute a
        ON a.attrelid = f.confrelid AND a.attnum = k.attnum)))
    FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.conparentid = 0
      AND c.oid IN (f.conrelid, f.confrelid)),
  'checks', (SELECT json_object_agg(f.conname, (SELECT json_agg(a.attname)
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (f.conkey)))
    FROM pg_catalog.pg_constraint f WHERE f.contype = 'c' AND f.conrelid = c.oid))
FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::oid[])
"""

# $1: quoted names. Those that exist, with the name that the reports print.
_NAMED = """
SELECT given, pg_catalog.to_regclass(given)::oid, c.relkind,
  CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname::text
    ELSE n.nspname || '.' || c.relname END
FROM pg_catalog.unnest($1::text[]) given
JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(given)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""

# $1: OIDs of tables. The views that read them, and those that read such views.
_VIEWS = """
WITH RECURSIVE reading (oid) AS (
  SELECT pg_catalog.unnest($1::oid[])
  UNION
  SELECT w.ev_class FROM reading r
  JOIN pg_catalog.pg_depend d ON d.refobjid = r.oid
    AND d.refclassid = 'pg_catalog.pg_class'::regclass
    AND d.classid = 'pg_catalog.pg_rewrite'::regclass
  JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
)
SELECT DISTINCT oid FROM reading
"""

# Tables and views of which a statement runs what no model shows; PostgreSQL's own have low OIDs.
_WITH_CODE = """
SELECT t.tgrelid FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal
UNION SELECT w.ev_class FROM pg_catalog.pg_rewrite w
  WHERE w.rulename <> '_RETURN' AND w.ev_class >= 16384
UNION SELECT p.polrelid FROM pg_catalog.pg_policy p
"""


@dataclass(frozen=True)
class Column:
    """A column that an INSERT may name."""

    name: str
    number: int
    type: str
    base: str
    category: str
    length: int
    not_null: bool
    identity: str
    generated: str
    default: str | None
    label: str | None

    @property
    def has_default(self) -> bool:
        """Whether the server makes a value where an INSERT leaves the column out."""
        return bool(self.default or self.identity)


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key, of either of its tables."""

    name: str
    table: int
    target: int
    action: str
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table, view, or partitioned table."""

    oid: int
    name: str
    """Quoted where it has to be, with its schema outside the search path."""
    kind: str
    is_empty: bool
    """Whether it has no page, and so no row."""
    access: str
    """What this role may do with it, and whether row-level security is on."""
    columns: Mapping[str, Column]
    unique: tuple[tuple[str, ...], ...]
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...]
    """Those that it has, and those that lead to it."""
    checks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """CHECK constraint → its columns."""

    @cached_property
    def outgoing(self) -> tuple[ForeignKey, ...]:
        """The foreign keys of this table."""
        return tuple(each for each in self.foreign_keys if each.table == self.oid)

    @cached_property
    def incoming(self) -> tuple[ForeignKey, ...]:
        """The foreign keys that lead to this table."""
        return tuple(each for each in self.foreign_keys if each.target == self.oid)


@dataclass(frozen=True)
class Named:
    """A relation that was found by its name."""

    oid: int
    kind: str
    shown: str
    """As the reports print it."""


class TableCatalog:
    """Looks tables up, each once until :meth:`forget`."""

    def __init__(self, session: Session, quote: Callable[[str], str]) -> None:
        self._session = session
        self._quote = quote
        self._tables: dict[int, Table | None] = {}
        self._oids: dict[str, int | None] = {}

    def forget(self) -> None:
        """Look everything up again from now on: the schema may have changed."""
        self._tables.clear()
        self._oids.clear()

    def resolve(self, names: Iterable[str]) -> None:
        """Look up at once which of the tables that Django calls so are there."""
        wanted = {self._quote(name): name for name in names if name not in self._oids}
        found = self.named(list(wanted))
        for quoted, name in wanted.items():
            self._oids[name] = found[quoted].oid if quoted in found else None

    def load(self, names: Iterable[str]) -> None:
        """Look up in few queries the tables that Django calls so, and those they refer to."""
        names = list(names)
        self.resolve(names)
        oids = {oid for name in names if (oid := self._oids[name]) is not None}
        for _level in range(_NEAR):
            self._fetch(oids)
            found = [table for oid in oids if (table := self._tables[oid]) is not None]
            oids = {key.target for table in found for key in table.outgoing}

    def _fetch(self, oids: Iterable[int]) -> None:
        given = [oid for oid in dict.fromkeys(oids) if oid not in self._tables]
        rows = self._session.query(_TABLES, [array(map(str, given))]) if given else []
        self._tables.update(dict.fromkeys(given))
        for (text,) in rows:
            table = _table(json.loads(text or "{}"))
            self._tables[table.oid] = table

    def named(self, quoted: Sequence[str]) -> Mapping[str, Named]:
        """Return the relations of those names that exist."""
        rows = self._session.query(_NAMED, [array(quoted)]) if quoted else []
        return {
            str(given): Named(int(oid or 0), str(kind), str(shown))
            for given, oid, kind, shown in rows
        }

    def with_views(self, oids: Sequence[int]) -> frozenset[int]:
        """Return the relations and the views that read them."""
        rows = self._session.query(_VIEWS, [array(map(str, oids))]) if oids else []
        return frozenset(int(oid or 0) for (oid,) in rows)

    def with_code(self) -> frozenset[int]:
        """Return the relations with triggers, rules, or policies."""
        return frozenset(int(oid or 0) for (oid,) in self._session.query(_WITH_CODE))

    def filled(self, oids: Iterable[int]) -> frozenset[int]:
        """Return those of the relations that may have rows: the others have no page."""
        sql = (
            "SELECT oid FROM pg_catalog.pg_class WHERE oid = ANY ($1::oid[])"
            " AND (relkind <> 'r' OR pg_catalog.pg_relation_size(oid) > 0)"
        )
        rows = self._session.query(sql, [array(map(str, oids))])
        return frozenset(int(oid or 0) for (oid,) in rows)

    def widths(self) -> Mapping[int, int]:
        """Return every table that there is, with the number of its last column."""
        sql = "SELECT oid, relnatts FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p')"
        return {int(oid or 0): int(last or 0) for oid, last in self._session.query(sql)}

    def oid_of(self, table: str) -> int | None:
        """Return the OID of a table that Django calls so, None where there is none."""
        self.resolve([] if table in self._oids else [table])
        return self._oids[table]

    def table(self, oid: int) -> Table | None:
        """Return what is known of a relation, None where it is gone."""
        self._fetch([oid])
        return self._tables[oid]


def _table(found: Mapping[str, Any]) -> Table:
    unique = [(each["primary"], tuple(each["columns"] or ())) for each in found["unique"] or ()]
    return Table(
        oid=found["oid"],
        name=found["name"],
        kind=found["kind"],
        is_empty=found["is_empty"],
        access=found["access"],
        columns={each["name"]: Column(**each) for each in found["columns"] or ()},
        unique=tuple(columns for _primary, columns in unique),
        primary_key=next((columns for primary, columns in unique if primary), ()),
        foreign_keys=tuple(_foreign_keys(found["foreign_keys"] or ())),
        checks={name: tuple(columns or ()) for name, columns in (found["checks"] or {}).items()},
    )


def _foreign_keys(found: Sequence[Mapping[str, Any]]) -> Iterator[ForeignKey]:
    for each in found:
        columns = {name: tuple(each[name]) for name in ("columns", "target_columns")}
        yield ForeignKey(**{**each, **columns})


def array(values: Any) -> str:
    """Return an array as PostgreSQL reads it."""
    return "{" + ",".join(json.dumps(each, ensure_ascii=False) for each in values) + "}"
