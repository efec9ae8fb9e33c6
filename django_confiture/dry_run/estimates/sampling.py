"""The same statement on smaller copies of its tables: how its time really grows.

The copies are made in a separate schema that comes first in the search path, so that the
statement runs on them unchanged; a savepoint undoes it all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING

import psycopg

from django_confiture.dry_run.locks.rules import Lookup
from django_confiture.dry_run.results import Sampled
from django_confiture.dry_run.sql.parsing.building import in_schema
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.parser import Statement

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Catalog, Relation
    from django_confiture.dry_run.server.side_channel import Session

FRACTIONS = (0.1, 0.4)
"""Far enough apart that noise does not decide the slope, and cheaper than the whole."""

MIN_ROWS = 50_000
"""A tenth of fewer rows than this takes no time that could be told from noise."""

_MOST_TRIES = 10
"""How many times a dry run tries one kind of statement on samples of the same tables."""

_SCHEMA = "confiture_sample"
_SAVEPOINT = "confiture_sample"
_FIXED_MS = 0.3
_WORTHWHILE_MS = 3.0
_SAMPLED = {"index_stmt", "alter_table_stmt", "update_stmt", "delete_stmt", "insert_stmt"}

_COLUMNS = """
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_catalog.pg_attribute
WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""

_INDEXES = (
    "SELECT pg_catalog.pg_get_indexdef(indexrelid) FROM pg_catalog.pg_index WHERE indrelid = $1"
)


def whole_ms(sampled: Sampled) -> float:
    """Return what a statement will take on the whole of its tables."""
    return sampled.durations_ms[-1] * float((1 / FRACTIONS[-1]) ** sampled.exponent)


class Sampler:
    """Runs statements on samples of the tables that they name."""

    def __init__(self, session: Session, catalog: Catalog) -> None:
        self._session = session
        self._catalog = catalog
        self._tries: Counter[tuple[str, frozenset[int]]] = Counter()

    def sample(self, statement: Statement, text: str) -> Sampled | None:
        """Return how the time of ``text`` grows; None where it can't be tried, or is too quick."""
        if statement.what not in _SAMPLED or statement.hides_code:
            return None
        tables = self._large_tables(statement)
        tried = statement.what, frozenset(each.oid for each in tables.values())
        if not tables or self._tries[tried] >= _MOST_TRIES:
            return None
        self._tries[tried] += 1
        measured = []
        for fraction in FRACTIONS:
            self._session.query(f"SAVEPOINT {_SAVEPOINT}")
            try:
                measured.append(self._measure(statement, text, tables, fraction))
            except psycopg.Error:
                return None  # it can't be tried on a copy
            finally:
                self._session.query(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
                self._session.query(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        (few, quick), (many, slow) = measured
        if slow < _WORTHWHILE_MS or few == 0 or many <= few:
            return None
        work = [max(0.1, ms - _FIXED_MS) for ms in (quick, slow)]
        exponent = math.log(work[1] / work[0]) / math.log(many / few)
        return Sampled(exponent, (few, many), (quick, slow))

    def _large_tables(self, statement: Statement) -> Mapping[str, Relation]:
        """Return the tables worth sampling by the name as written; none with a schema."""
        names = {each.relname: each.schemaname for each in statement.relations}
        found = Lookup(self._session.query).relations(
            quote_identifier(name) for name, schema in names.items() if not schema
        )
        large = {}
        for quoted, relation in found.items():
            known = self._catalog.relations.get(relation.oid)
            if known is not None and known.kind == "r" and known.rows >= MIN_ROWS:
                large[quoted] = known
        return large

    def _measure(
        self, statement: Statement, text: str, tables: Mapping[str, Relation], fraction: float
    ) -> tuple[int, float]:
        """Return the rows of the copies, and the milliseconds that the statement took on them."""
        session = self._session
        path = session.value("SHOW search_path")
        session.query(f"CREATE SCHEMA {_SCHEMA}")
        rows = sum(
            self._copy(name, relation, fraction, indexes=statement.what != "index_stmt")
            for name, relation in tables.items()
        )
        session.query("SELECT set_config('search_path', $1, true)", [f"{_SCHEMA}, {path}"])
        started = perf_counter()
        session.query(text)
        return rows, (perf_counter() - started) * 1000

    def _copy(self, name: str, relation: Relation, fraction: float, *, indexes: bool) -> int:
        """Copy a part of a table; its indexes are built afterwards, as they were."""
        session, copy = self._session, f"{_SCHEMA}.{name}"
        session.query(f"CREATE TABLE {copy} (LIKE {name} INCLUDING ALL EXCLUDING INDEXES)")
        columns = session.value(_COLUMNS, [relation.oid])
        session.query(
            f"INSERT INTO {copy} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} "
            f"FROM ONLY {name} TABLESAMPLE SYSTEM ({100 * fraction}) REPEATABLE (1)"
        )
        if indexes:
            for definition in self._index_definitions(relation.oid):
                session.query(definition)
        session.query(f"ANALYZE {copy}")
        return int(session.value(f"SELECT count(*) FROM {copy}"))

    def _index_definitions(self, oid: int) -> Iterator[str]:
        for (definition,) in self._session.query(_INDEXES, [oid]):
            yield in_schema(definition or "", _SCHEMA)
