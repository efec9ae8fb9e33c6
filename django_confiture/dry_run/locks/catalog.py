"""What the lock rules must know of the catalog before the statement is run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeAlias

from django_confiture.dry_run.locks import catalog_sql
from django_confiture.dry_run.server.side_channel import array

Query: TypeAlias = Callable[[str, Sequence[str | int | None]], list[tuple[str | None, ...]]]
"""Runs SQL with ``$1``-style parameters on the connection that migrates, and gives the rows as text
(as ``PQexecParams`` does). It must not be recorded as a statement of the migration."""


@dataclasses.dataclass(frozen=True, slots=True)
class NamedRelation:
    """A relation that a statement names."""

    oid: int
    kind: str
    """``pg_class.relkind``."""
    table: int
    """OID of the table if it is an index, else ``oid``."""
    has_children: bool
    """Whether it has, or once had, partitions or inheritance children."""
    has_triggers: bool
    """Whether it has, or once had, triggers, as both sides of a foreign key do."""

    @property
    def is_index(self) -> bool:
        """Whether it is an index, of a partitioned table or not."""
        return self.kind in "iI"

    @property
    def is_partitioned(self) -> bool:
        """Whether it is a partitioned table."""
        return self.kind == "p"


@dataclasses.dataclass(frozen=True, slots=True)
class Read:
    """A relation that is locked because another one is read."""

    oid: int
    kind: str
    """``pg_class.relkind``."""
    is_child: bool
    """Whether it is a partition or inheritance child."""


@dataclasses.dataclass(frozen=True, slots=True)
class ForeignKey:
    """A row of ``pg_constraint``; one between partitioned tables has a row for each partition."""

    table: int
    referenced: int
    deferred: bool
    on_update: str
    on_delete: str
    columns: frozenset[str]
    referenced_columns: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint of a table."""

    oid: int
    table: int
    kind: str
    """``pg_constraint.contype``: ``f`` foreign key, ``c`` check, ``n`` not null and so on."""
    referenced: int
    validated: bool
    inheritable: bool


Root: TypeAlias = tuple[str, int, int]
"""Something to drop: its catalog, its OID, and the number of a column or 0."""


class Lookup:
    """The catalog as the statement will see it; it keeps the version, and columns that go.

    Every method is one query. Names are resolved by the server, with its own search path, temporary
    schemas included.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        self._server_version: int | None = None
        self._columns_gone: dict[tuple[int, int], str] = {}
        self._columns_named: set[tuple[int, int]] = set()

    @property
    def server_version(self) -> int:
        """The server's version as PostgreSQL counts, such as 180006."""
        if self._server_version is None:
            (version,) = self._oids(catalog_sql.SERVER_VERSION)
            self._server_version = version
        return self._server_version

    def relations(self, names: Iterable[str]) -> dict[str, NamedRelation]:
        """Resolve quoted names; those that are not there, or system catalogs, are left out."""
        wanted = sorted(
            {*names} - {""}
        )  # to_regclass('') is an error, which would abort the migration
        if not wanted:
            return {}
        rows = self._query(catalog_sql.RELATIONS, [_json(wanted)])
        return {
            str(name): NamedRelation(
                _int(oid), str(kind), _int(table), children == "t", triggers == "t"
            )
            for name, oid, kind, table, children, triggers in rows
        }

    def relation(self, name: str) -> NamedRelation | None:
        """Resolve one quoted name."""
        return self.relations([name]).get(name)

    def descendants(self, oids: Collection[int]) -> set[int]:
        """Return partitions and inheritance children of all levels."""
        return set(self._oids(catalog_sql.DESCENDANTS, _array(oids))) if oids else set()

    def family(self, oids: Collection[int]) -> set[int]:
        """Return the tables together with their descendants."""
        return {*oids, *self.descendants(oids)}

    def family_of(self, relation: NamedRelation) -> set[int]:
        """Return the relation with its descendants; no query if there cannot be any."""
        return self.family([relation.oid]) if relation.has_children else {relation.oid}

    def lockable(self, oids: Collection[int]) -> list[int]:
        """Return those that are no indexes or composite types."""
        return self._oids(catalog_sql.LOCKABLE, _array(oids))

    def default_partitions(self, oids: Collection[int]) -> list[int]:
        """Return the default partitions of partitioned tables."""
        return self._oids(catalog_sql.DEFAULT_PARTITIONS, _array(oids))

    def reads(
        self, relations: Iterable[NamedRelation], *, refresh: bool = False
    ) -> dict[int, list[Read]]:
        """Return for each relation what reading it locks in addition to itself.

        ``refresh``: for a materialized view, what a refresh reads. No query for tables that
        cannot have children.
        """
        found: dict[int, list[Read]] = {}
        asked = set()
        for relation in relations:
            found[relation.oid] = []
            if relation.kind == "v" or relation.has_children or refresh:
                asked.add(relation.oid)
        if asked:
            rows = self._query(catalog_sql.READS, [_array(asked), int(refresh)])
            for root, oid, kind, child in rows:
                if root != oid:
                    found[_int(root)].append(Read(_int(oid), str(kind), child == "t"))
        return found

    def foreign_keys(self, oids: Collection[int]) -> list[ForeignKey]:
        """Return all foreign keys from or to one of the tables."""
        return [
            ForeignKey(
                table=_int(table),
                referenced=_int(referenced),
                deferred=deferred == "t",
                on_update=str(on_update),
                on_delete=str(on_delete),
                columns=frozenset(json.loads(columns or "[]")),
                referenced_columns=frozenset(json.loads(referenced_columns or "[]")),
            )
            for table, referenced, deferred, on_update, on_delete, columns, referenced_columns in (
                self._query(catalog_sql.FOREIGN_KEYS, [_array(oids)])
            )
        ]

    def constraints(self, oids: Collection[int], name: str) -> list[Constraint]:
        """Return the constraints of that name on the tables."""
        rows = self._query(catalog_sql.CONSTRAINTS, [_array(oids), name])
        return [
            Constraint(
                oid=_int(oid),
                table=_int(table),
                kind=str(kind),
                referenced=_int(referenced),
                validated=validated == "t",
                inheritable=no_inherit == "f",
            )
            for oid, table, kind, referenced, validated, no_inherit in rows
        ]

    def owned_sequences(self, oids: Collection[int], column: str | None = None) -> list[int]:
        """Return the sequences of serial and identity columns, or of the one column."""
        return self._oids(catalog_sql.OWNED_SEQUENCES, _array(oids), column)

    def columns(self, oids: Collection[int], name: str) -> list[Root]:
        """Return the column of that name of each table that has it."""
        rows = self._query(catalog_sql.COLUMNS, [_array(oids), name])
        return [("pg_class", _int(table), _int(number)) for table, number in rows]

    def on_table(self, catalog: str, table: int, name: str) -> list[Root]:
        """Return the trigger, rule or policy of that name (``catalog`` says which) on the table."""
        oids = self._oids(catalog_sql.ON_TABLE[catalog], _array([table]), name)
        return [(catalog, oid, 0) for oid in oids]

    def named(self, catalog: str, names: Iterable[str]) -> list[Root]:
        """Return types (quoted names), schemas or extensions (plain names)."""
        oids = self._oids(catalog_sql.NAMED[catalog], _json(names))
        return [(catalog, oid, 0) for oid in oids]

    def routines(self, schema: str | None, name: str, args: Sequence[str] | None) -> list[Root]:
        """Return functions and aggregates; ``args`` are quoted type names, None for any."""
        wanted = None if args is None else _json(args)
        return [
            ("pg_proc", oid, 0) for oid in self._oids(catalog_sql.ROUTINES, schema, name, wanted)
        ]

    def statistics(self, schema: str | None, name: str) -> list[Root]:
        """Return the extended statistics object of that name."""
        return [
            ("pg_statistic_ext", oid, 0) for oid in self._oids(catalog_sql.STATISTICS, schema, name)
        ]

    def owned_by(self, roles: Iterable[str | None]) -> list[Root]:
        """Return what the roles own in this database; None stands for the current user."""
        rows = self._query(catalog_sql.OWNED, [_json(roles)])
        return [(str(catalog), _int(oid), 0) for catalog, oid in rows]

    def dropped(self, roots: Collection[Root]) -> tuple[set[int], set[int]]:
        """Return the relations that dropping ``roots`` locks, dependents included.

        First those that are locked whole, second those that only lose extended statistics. What
        ``RESTRICT`` would refuse is included: that statement fails.
        """
        arrays = [array(values) for values in zip(*roots, strict=True)]
        rows = self._query(catalog_sql.DROPPED, arrays) if arrays else []
        self._columns_named |= {(oid, column) for _catalog, oid, column in roots}
        self._columns_gone |= {
            (_int(oid), _int(column)): str(name) for oid, what, column, name in rows if what == "2"
        }
        whole, statistics = ({_int(row[0]) for row in rows if row[1] == what} for what in "01")
        return whole, statistics

    @property
    def columns_gone(self) -> tuple[tuple[int, str], ...]:
        """(table, name) of each column that what was asked about drops without naming it."""
        gone, named = self._columns_gone, self._columns_named
        return tuple((key[0], name) for key, name in gone.items() if key not in named)

    def tables_of_domain(self, name: str) -> list[int]:
        """Return the tables with a column of the domain, or of a domain over it."""
        return [
            table
            for _, domain, _ in self.named("pg_type", [name])
            for table in self._oids(catalog_sql.TABLES_OF_DOMAIN, domain)
        ]

    def typed_tables(self, composite_type: int) -> list[int]:
        """Return the tables made ``OF`` the type, by the OID of the type's relation."""
        return self._oids(catalog_sql.TYPED_TABLES, composite_type)

    def published(self, publication: str) -> list[int]:
        """Return the tables that a publication names."""
        return self._oids(catalog_sql.PUBLISHED, publication)

    def maintained(self, which: str) -> list[int]:
        """Return the tables of a ``VACUUM`` and the like that names none.

        ``which``: ``all``, ``clustered``, or ``schema`` and a space and its name.
        """
        return self._oids(catalog_sql.ALL_TABLES, which)

    def has_user_function(self, names: Iterable[str]) -> bool:
        """Return whether one of the names is a function that a user wrote in SQL or PL/pgSQL."""
        wanted = sorted(set(names))
        return bool(wanted and self._query(catalog_sql.USER_FUNCTIONS, [_json(wanted)]))

    def _oids(self, sql: str, *params: str | int | None) -> list[int]:
        return [_int(row[0]) for row in self._query(sql, params)]


def _int(value: str | None) -> int:
    assert value is not None, "a column that is never NULL"
    return int(value)


def _array(oids: Iterable[int]) -> str:
    """Return the parameter for ``$1::oid[]``, each OID once."""
    return array(sorted(set(oids)))


def _json(values: Iterable[str | None]) -> str:
    """Return the JSON array; without ``\\u`` escapes, which not every server encoding takes."""
    return json.dumps(list(values), ensure_ascii=False)
