"""What the server's catalogs say about a table right now: columns, keys, references."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from django_confiture.dry_run.running_code.catalog.prepared import PreparedQuestions, Question
from django_confiture.dry_run.running_code.catalog.table import Table, table_of
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
_TABLES = Question("confiture_code_tables", "oid[], integer", TABLES)


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
        self._questions = PreparedQuestions(session)
        self._quote = quote
        self._tables: dict[int, Table | None] = {}
        self._oids: dict[str, int | None] = {}
        self._unsure: Set[int] = frozenset()
        """Tables that had no rows when they were looked up, and may have some now."""

    def forget(self, unchanged: Set[int] = frozenset()) -> None:
        """Look everything up again from now on, apart from tables that are known not to differ."""
        self._oids.clear()
        kept = (each for each in self._tables.values() if each and each.oid in unchanged)
        self._tables = {each.oid: each for each in kept}
        self.forget_rows()

    def forget_rows(self) -> None:
        """Look up again which tables have rows."""
        self._unsure = {oid for oid, each in self._tables.items() if each and each.is_empty}

    @property
    def names(self) -> Mapping[int, str]:
        """What is known by now, by OID, with names in quotes where they need it."""
        return {oid: each.name for oid, each in self._tables.items() if each}

    def resolve(self, names: Iterable[str]) -> None:
        """Look up at once which of the tables that Django calls so are there."""
        wanted = {self._quote(name): name for name in names if name not in self._oids}
        found = self.named(list(wanted))
        for quoted, name in wanted.items():
            self._oids[name] = found[quoted].oid if quoted in found else None

    def load(self, names: Iterable[str]) -> None:
        """Look up at once the tables that Django calls so, and those they refer to."""
        oids = self._oids_of(names)
        knows_none = not self._tables
        for level in range(_NEAR):
            self.fetch(oids, levels=_NEAR - level if knows_none else 1)
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
        wanted = dict.fromkeys(oids)
        if unsure := self._unsure & wanted.keys():
            self._note_filled(unsure)
        given = [oid for oid in wanted if oid not in self._tables]
        rows = self._questions.rows(_TABLES, array(given), levels) if given else []
        self._tables.update(dict.fromkeys(given))
        for (text,) in rows:
            table = table_of(json.loads(text or "{}"))
            self._tables[table.oid] = table

    def _note_filled(self, oids: Set[int]) -> None:
        self._unsure = self._unsure - oids
        for oid in self.filled(oids):
            if (table := self._tables[oid]) is not None:
                self._tables[oid] = replace(table, is_empty=False)

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
