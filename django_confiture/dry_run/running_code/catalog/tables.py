"""What the server's catalogs say about a table right now: columns, keys, references."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django_confiture.dry_run.running_code.catalog.table_queries import (
    ABOVE,
    BY_OTHERS,
    NAMED,
    SERVED,
    TABLES,
    WITH_CODE,
)
from django_confiture.dry_run.server.side_channel import Session, array

_NEAR = 4
"""How many levels of foreign keys are looked up at once."""


@dataclass(frozen=True)
class TableColumn:
    """A column that an INSERT may name."""

    name: str
    number: int
    type: str
    base: str
    """The type's name, of a domain that of what it is made from."""
    base_oid: int
    category: str
    length: int
    not_null: bool
    identity: str
    generated: str
    default: str | None
    label: str | None
    folds: bool
    """Whether texts that differ in case may be equal in it."""

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
class UniqueIndex:
    """An index that lets only one row have some values, that of an exclusion included."""

    name: str
    columns: tuple[str, ...]
    """Those of its expressions and of its condition, too."""
    definition: str
    primary: bool


@dataclass(frozen=True)
class Check:
    """A CHECK of a table, of one of its partitions, or of a column's domain."""

    name: str | None
    """None: a NOT NULL, which only a partition has."""
    columns: tuple[str, ...]
    expression: str | None = None
    part: int | None = None
    """The partition that alone has it."""
    bound: str | None = None
    """Which rows that partition has."""


@dataclass(frozen=True)
class Table:
    """A table, view, or partitioned table."""

    oid: int
    name: str
    """Quoted where it has to be, with its schema outside the search path."""
    kind: str
    is_empty: bool
    """Whether it has no page, and so no row."""
    guarded: frozenset[str]
    """The actions, such as "insert", on which a trigger or rule acts."""
    access: str
    """What this role may do with it, and whether row-level security is on."""
    columns: Mapping[str, TableColumn]
    unique_indexes: tuple[UniqueIndex, ...]
    foreign_keys: tuple[ForeignKey, ...]
    """Those that it has, and those that lead to it."""
    checks: tuple[Check, ...] = ()
    split_by: tuple[str, ...] = ()
    """The columns by which it is partitioned."""

    @property
    def is_view(self) -> bool:
        """Whether it is a view, of which PostgreSQL may take nothing but SELECT."""
        return self.kind in ("v", "m")

    @property
    def has_parts(self) -> bool:
        """Whether its rows are in partitions, each with constraints and triggers of its own."""
        return self.kind == "p"

    @property
    def hides_rows(self) -> bool:
        """Whether row-level security binds the owner of the table, too."""
        return self.access.startswith("t t ")

    @cached_property
    def unique(self) -> tuple[tuple[str, ...], ...]:
        """The columns of each unique index."""
        return tuple(each.columns for each in self.unique_indexes)

    @cached_property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return next((each.columns for each in self.unique_indexes if each.primary), ())

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
        """Look up at once the tables that Django calls so, and those they refer to."""
        oids = self._oids_of(names)
        for level in range(_NEAR):
            self.fetch(oids, levels=_NEAR - level)
            found = [table for oid in oids if (table := self._tables[oid]) is not None]
            oids = {key.target for table in found for key in table.outgoing}

    def load_alone(self, names: Iterable[str]) -> None:
        """Look up at once the tables that Django calls so."""
        self.fetch(self._oids_of(names))

    def _oids_of(self, names: Iterable[str]) -> Set[int]:
        names = list(names)
        self.resolve(names)
        return {oid for name in names if (oid := self._oids[name]) is not None}

    def fetch(self, oids: Iterable[int], *, levels: int = 1) -> None:
        """Look tables up at once, with those that so many ``levels`` of foreign keys lead to."""
        given = [oid for oid in dict.fromkeys(oids) if oid not in self._tables]
        rows = self._session.query(TABLES, [array(given), levels]) if given else []
        self._tables.update(dict.fromkeys(given))
        for (text,) in rows:
            table = _table(json.loads(text or "{}"))
            self._tables[table.oid] = table

    def named(self, quoted: Sequence[str]) -> Mapping[str, Named]:
        """Return the relations of those names that exist."""
        rows = self._session.query(NAMED, [array(quoted)]) if quoted else []
        return {
            str(given): Named(int(oid or 0), str(kind), str(shown))
            for given, oid, kind, shown in rows
        }

    def with_those_above(self, oids: Sequence[int]) -> frozenset[int]:
        """Return the relations, the views that read them, and the tables that they are parts of."""
        rows = self._session.query(ABOVE, [array(oids)]) if oids else []
        return frozenset(int(oid or 0) for (oid,) in rows)

    def with_sequences(self, oids: Sequence[int]) -> frozenset[int]:
        """Return the tables that the sequences among the relations serve."""
        rows = self._session.query(SERVED, [array(oids)]) if oids else []
        return frozenset(int(oid or 0) for (oid,) in rows)

    def of_types_and_functions(self) -> frozenset[int]:
        """Return the tables that use types and functions which are not PostgreSQL's own."""
        return frozenset(int(oid or 0) for (oid,) in self._session.query(BY_OTHERS))

    def with_code(self) -> frozenset[int]:
        """Return the relations with triggers, rules, or policies."""
        return frozenset(int(oid or 0) for (oid,) in self._session.query(WITH_CODE))

    def filled(self, oids: Iterable[int]) -> frozenset[int]:
        """Return those of the relations that may have rows: the others have no page."""
        sql = (
            "SELECT oid FROM pg_catalog.pg_class WHERE oid = ANY ($1::oid[])"
            " AND (relkind <> 'r' OR pg_catalog.pg_relation_size(oid) > 0)"
        )
        rows = self._session.query(sql, [array(oids)])
        return frozenset(int(oid or 0) for (oid,) in rows)

    def widths(self) -> Mapping[int, int]:
        """Return every table that there is, with the number of its last column."""
        sql = "SELECT oid, relnatts FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p')"
        return {int(oid or 0): int(last or 0) for oid, last in self._session.query(sql)}

    def oid_of(self, table: str) -> int | None:
        """Return the OID of a table that Django calls so, None where there is none."""
        self.resolve([] if table in self._oids else [table])
        return self._oids[table]

    def tables(self, names: Iterable[str]) -> Iterator[Table]:
        """Yield those of the tables that Django calls so which are there."""
        for name in names:
            oid = self.oid_of(name)
            if oid is not None and (table := self.table(oid)) is not None:
                yield table

    def table(self, oid: int) -> Table | None:
        """Return what is known of a relation, None where it is gone."""
        self.fetch([oid])
        return self._tables[oid]


def _table(found: Mapping[str, Any]) -> Table:
    return Table(
        oid=found["oid"],
        name=found["name"],
        kind=found["kind"],
        is_empty=found["is_empty"],
        guarded=frozenset(found["guards"]),
        access=found["access"],
        columns={each["name"]: TableColumn(**each) for each in found["columns"] or ()},
        unique_indexes=tuple(
            UniqueIndex(**{**each, "columns": tuple(each["columns"] or ())})
            for each in found["unique"] or ()
        ),
        foreign_keys=tuple(_foreign_keys(found["foreign_keys"] or ())),
        checks=tuple(
            Check(**{**each, "columns": tuple(each["columns"] or ())})
            for each in found["checks"] or ()
        ),
        split_by=tuple(found["split_by"] or ()),
    )


def _foreign_keys(found: Sequence[Mapping[str, Any]]) -> Iterator[ForeignKey]:
    for each in found:
        columns = {name: tuple(each[name]) for name in ("columns", "target_columns")}
        yield ForeignKey(**{**each, **columns})
