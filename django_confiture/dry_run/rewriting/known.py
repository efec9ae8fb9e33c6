"""Reads what the recipes have to know of the database: its indexes, constraints and keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from django_confiture.dry_run.rewriting.facts import PartitionIndex
from django_confiture.dry_run.rewriting.replaced import made_by
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parser import Statement

_SHOWN = """
  pg_catalog.concat(n.nspname, '.', c.relname), c.relname, pg_catalog.pg_table_is_visible(c.oid),
"""
_WHERE = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND "
_OPEN = (
    "NOT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.relation = {table}"
    " AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid()"
    " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d"
    "   WHERE d.datname = pg_catalog.current_database()))"
)
"""What deparses the columns of a table waits for who has locked it, or is next in line to."""
_OF_CLASS = "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
_INDEXES = (
    f"SELECT {_SHOWN} pg_catalog.pg_get_indexdef(c.oid)"
    f" FROM pg_catalog.pg_class c {_OF_CLASS}"
    " JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid"
    f" WHERE {_WHERE} c.relkind = 'i' AND {_OPEN.format(table='i.indrelid')}"
)
_CONSTRAINTS = (
    f"SELECT {_SHOWN} k.conname, pg_catalog.pg_get_constraintdef(k.oid)"
    f" FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid {_OF_CLASS}"
    f" WHERE {_WHERE} k.contype IN ('c', 'f', 'p', 'u', 'x')"
    f" AND {_OPEN.format(table='k.conrelid')}"
)
_KEYS = (
    f"SELECT {_SHOWN} a.attname"
    f" FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid {_OF_CLASS}"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
    f" WHERE {_WHERE} i.indisprimary AND i.indnkeyatts = 1"
)

_REQUIRED = (
    f"SELECT {_SHOWN} pg_catalog.string_agg(a.attname, E'\\n')"
    f" FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid {_OF_CLASS}"
    f" WHERE {_WHERE} c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped"
    " AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' GROUP BY n.nspname, c.oid"
)
_ROW_SECURITY = (
    f"SELECT {_SHOWN} '' FROM pg_catalog.pg_class c {_OF_CLASS} WHERE {_WHERE} c.relrowsecurity"
)
_PARTITIONED = f"SELECT {_SHOWN} '' FROM pg_catalog.pg_class c {_OF_CLASS} WHERE relkind = 'p'"
_PARTITION_INDEXES = (
    f"SELECT {_SHOWN} pg_catalog.format('%I.%I', pn.nspname, p.relname),"
    " pg_catalog.pg_get_indexdef(p.oid), p.relkind"
    f" FROM pg_catalog.pg_class c {_OF_CLASS} JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid"
    " JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid"
    " JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace"
    " WHERE c.relkind = 'I' ORDER BY p.relname"
)
_PLAIN = (
    f"SELECT {_SHOWN} pg_catalog.string_agg(a.attname, E'\\n')"
    f" FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid {_OF_CLASS}"
    f" WHERE {_WHERE} c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped"
    " AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '' AND a.attacl IS NULL"
    " AND a.attoptions IS NULL AND pg_catalog.col_description(c.oid, a.attnum) IS NULL"
    " GROUP BY n.nspname, c.oid"
)


@dataclass(frozen=True)
class KnownObjects:
    """What a database has, by the names that statements may give it."""

    indexes: dict[str, str]
    constraints: dict[tuple[str, str], str]
    keys: dict[str, str]
    required: dict[str, frozenset[str]]
    plain: dict[str, frozenset[str]]
    row_security: frozenset[str]

    def after(self, statements: Iterable[Statement]) -> KnownObjects:
        """Return what is known once some more statements have run."""
        indexes, constraints = dict(self.indexes), dict(self.constraints)
        for each in statements:
            for (kind, table, name), sql in made_by(each):
                if kind == "index":
                    indexes[name] = sql
                else:
                    constraints[table, name] = sql
        return replace(self, indexes=indexes, constraints=constraints)


KNOWS_NOTHING = KnownObjects({}, {}, {}, {}, {}, frozenset())


def read_known(session: Session) -> KnownObjects:
    """Return what is there now."""
    return KnownObjects(
        {name: definition for name, (definition,) in _rows(session, _INDEXES)},
        {
            (table, constraint): definition
            for table, (constraint, definition) in _rows(session, _CONSTRAINTS)
        },
        {table: column for table, (column,) in _rows(session, _KEYS)},
        {table: frozenset(columns.split("\n")) for table, (columns,) in _rows(session, _REQUIRED)},
        {table: frozenset(columns.split("\n")) for table, (columns,) in _rows(session, _PLAIN)},
        frozenset(name for name, _nothing in _rows(session, _ROW_SECURITY)),
    )


def read_partitioned(session: Session) -> frozenset[str]:
    """Return the partitioned tables."""
    return frozenset(name for name, _nothing in _rows(session, _PARTITIONED))


def read_partition_indexes(session: Session) -> dict[str, list[PartitionIndex]]:
    """Return index of a partitioned table → the indexes of its partitions."""
    found: dict[str, list[PartitionIndex]] = {}
    for name, (partition, definition, kind) in _rows(session, _PARTITION_INDEXES):
        index = PartitionIndex(partition, definition, nested=kind == "I")
        found.setdefault(name, []).append(index)
    return found


def _rows(session: Session, sql: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each row by its qualified name, and by the name alone where that finds it."""
    for qualified, name, visible, *rest in session.query(sql):
        values = tuple(str(each) for each in rest)
        yield str(qualified), values
        if visible in ("t", "true", True):
            yield str(name), values
