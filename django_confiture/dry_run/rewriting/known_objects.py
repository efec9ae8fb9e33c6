"""Reads what the recipes have to know of the database: its indexes, constraints and keys."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from django_confiture.dry_run.rewriting.changed_columns import (
    comment_by,
    defaults_by,
    not_null_by,
    types_by,
    validated_by,
)
from django_confiture.dry_run.rewriting.code_of_database import (
    functions_made_by,
    read_counting,
    read_own_functions,
)
from django_confiture.dry_run.rewriting.facts import NOT_VALID, Identity, PartitionIndex
from django_confiture.dry_run.rewriting.replaced import made_by
from django_confiture.dry_run.rewriting.rows_by_name import (
    AMONG,
    OF_CLASS,
    SHOWN,
    WHERE,
    rows_by_name,
)
from django_confiture.dry_run.server.side_channel import Session, array
from django_confiture.dry_run.sql.parsing.parser import Statement

_OPEN = (
    "NOT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.relation = {table}"
    " AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid()"
    " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d"
    "   WHERE d.datname = pg_catalog.current_database()))"
)
"""What deparses the columns of a table waits for who has locked it, or is next in line to."""
_INDEXES = (
    f"SELECT {SHOWN} pg_catalog.pg_get_indexdef(c.oid)"
    f" FROM pg_catalog.pg_class c {OF_CLASS}"
    " JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid"
    f" WHERE {WHERE} c.relkind = 'i' AND {AMONG.format(table='i.indrelid')}"
    f" AND {_OPEN.format(table='i.indrelid')}"
)
_CONSTRAINTS = (
    f"SELECT {SHOWN} k.conname, pg_catalog.pg_get_constraintdef(k.oid)"
    f" FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid {OF_CLASS}"
    f" WHERE {WHERE} k.contype IN ('c', 'f', 'p', 'u', 'x')"
    f" AND {AMONG.format(table='k.conrelid')} AND {_OPEN.format(table='k.conrelid')}"
)
_KEYS = (
    f"SELECT {SHOWN} a.attname"
    f" FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid {OF_CLASS}"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
    f" WHERE {WHERE} i.indisprimary AND i.indnkeyatts = 1 AND {AMONG.format(table='i.indrelid')}"
)
_REQUIRED = (
    f"SELECT {SHOWN} pg_catalog.string_agg(a.attname, E'\\n')"
    f" FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid {OF_CLASS}"
    f" WHERE {WHERE} c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped"
    " AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''"
    f" AND {AMONG.format(table='c.oid')} GROUP BY n.nspname, c.oid"
)
_ROW_SECURITY = (
    f"SELECT {SHOWN} '' FROM pg_catalog.pg_class c {OF_CLASS} WHERE {WHERE} c.relrowsecurity"
)
_PARTITIONED = f"SELECT {SHOWN} '' FROM pg_catalog.pg_class c {OF_CLASS} WHERE relkind = 'p'"
_PARTITIONS = (
    f"SELECT {SHOWN} pn.nspname, p.relname, p.relkind"
    f" FROM pg_catalog.pg_class c {OF_CLASS} JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid"
    " JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid"
    " JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace"
    " WHERE c.relkind = 'p' ORDER BY p.relname"
)
_PARTITION_INDEXES = (
    f"SELECT {SHOWN} pg_catalog.format('%I.%I', pn.nspname, p.relname),"
    " pg_catalog.pg_get_indexdef(p.oid), p.relkind"
    f" FROM pg_catalog.pg_class c {OF_CLASS} JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid"
    " JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid"
    " JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace"
    " WHERE c.relkind = 'I' ORDER BY p.relname"
)
_PLAIN = (
    f"SELECT {SHOWN} pg_catalog.string_agg(a.attname, E'\\n')"
    f" FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid {OF_CLASS}"
    f" WHERE {WHERE} c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped"
    " AND a.attidentity = '' AND a.attgenerated = '' AND a.attacl IS NULL"
    f" AND a.attoptions IS NULL AND {AMONG.format(table='c.oid')} GROUP BY n.nspname, c.oid"
)
_NOT_NULL = (
    f"SELECT {SHOWN} pg_catalog.string_agg(a.attname, E'\\n')"
    f" FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid {OF_CLASS}"
    f" WHERE {WHERE} c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped"
    " AND a.attnotnull GROUP BY n.nspname, c.oid"
)
_COLUMNS = (
    f"SELECT {SHOWN} a.attname, pg_catalog.concat("
    "   pg_catalog.format_type(a.atttypid, a.atttypmod), CASE WHEN a.attcollation <> t.typcollation"
    "   THEN pg_catalog.concat(' COLLATE ', a.attcollation::pg_catalog.regcollation) END),"
    " coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), ''),"
    " coalesce(pg_catalog.col_description(c.oid, a.attnum), '')"
    f" FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid {OF_CLASS}"
    " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
    " LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
    "   AND a.attgenerated = ''"
    f" WHERE {WHERE} c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped"
    f" AND {AMONG.format(table='c.oid')} AND {_OPEN.format(table='c.oid')}"
)
_IDENTITIES = (
    f"SELECT {SHOWN} a.attname, CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END,"
    " pg_catalog.format('%I.%I', n.nspname, t.relname)"
    f" FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid {OF_CLASS}"
    " JOIN pg_catalog.pg_depend d ON d.refobjid = c.oid AND d.refobjsubid = a.attnum"
    "   AND d.deptype = 'i' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
    " JOIN pg_catalog.pg_sequence s ON s.seqrelid = d.objid"
    " JOIN pg_catalog.pg_class t ON t.oid = s.seqrelid AND t.relnamespace = c.relnamespace"
    f" WHERE {WHERE} a.attidentity <> '' AND a.attacl IS NULL AND a.attoptions IS NULL"
    " AND (s.seqstart, s.seqincrement, s.seqmin, s.seqcache, s.seqcycle) = (1, 1, 1, 1, false)"
)
_SEQUENCES = (
    f"SELECT {SHOWN} a.attname, pg_catalog.format('%I.%I', tn.nspname, t.relname)"
    f" FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid {OF_CLASS}"
    " JOIN pg_catalog.pg_depend d ON d.refobjid = c.oid AND d.refobjsubid = a.attnum"
    "   AND d.deptype = 'a' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
    " JOIN pg_catalog.pg_class t ON t.oid = d.objid AND t.relkind = 'S'"
    " JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace"
    f" WHERE {WHERE} a.attidentity = ''"
)


@dataclass(frozen=True)
class KnownObjects:
    """What a database has, by the names that statements may give it."""

    indexes: dict[str, str]
    constraints: dict[tuple[str, str], str]
    keys: dict[str, str]
    required: dict[str, frozenset[str]]
    plain: dict[str, frozenset[str]]
    not_null: dict[str, frozenset[str]] = field(default_factory=dict)
    defaults: dict[tuple[str, str], str] = field(default_factory=dict)
    comments: dict[tuple[str, str], str] = field(default_factory=dict)
    types: dict[tuple[str, str], str] = field(default_factory=dict)
    row_security: frozenset[str] = frozenset()
    identities: dict[tuple[str, str], Identity] = field(default_factory=dict)
    sequences: dict[tuple[str, str], str] = field(default_factory=dict)
    partitions: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    counting: dict[str, str] = field(default_factory=dict)
    """Table → a trigger of it that does more each time a row is updated."""
    own_functions: frozenset[str] = frozenset()
    """The functions whose result may depend on more than what they are given."""

    def after(self, statements: Iterable[Statement]) -> KnownObjects:
        """Return what is known once some more statements have run."""
        statements = list(statements)
        if not statements:
            return self
        not_null, defaults, comments = dict(self.not_null), dict(self.defaults), dict(self.comments)
        types = dict(self.types)
        for each in statements:
            for table, column, required in not_null_by(each):
                columns = not_null.get(table, frozenset())
                not_null[table] = columns | {column} if required else columns - {column}
            for table, column, default in defaults_by(each):
                defaults.pop((table, column), None)
                if default is not None:
                    defaults[table, column] = default
            for table, column, comment in comment_by(each):
                comments.pop((table, column), None)
                if comment:
                    comments[table, column] = comment
            for table, column, kind in types_by(each):
                types[table, column] = kind
        indexes, constraints = self._objects_after(statements)
        return replace(
            self,
            indexes=indexes,
            constraints=constraints,
            not_null=not_null,
            defaults=defaults,
            comments=comments,
            types=types,
            own_functions=self.own_functions | functions_made_by(statements),
        )

    def _objects_after(
        self, statements: Iterable[Statement]
    ) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
        """Return the indexes and the constraints once some more statements have run."""
        indexes, constraints = dict(self.indexes), dict(self.constraints)
        for each in statements:
            for (kind, table, name), sql in made_by(each):
                if kind == "index":
                    indexes[name] = sql
                else:
                    constraints[table, name] = sql
            for key in validated_by(each):
                if (text := constraints.get(key)) is not None:
                    constraints[key] = text.removesuffix(NOT_VALID)
        return indexes, constraints


KNOWS_NOTHING = KnownObjects({}, {}, {}, {}, {})


def read_for_advice(session: Session, among: Collection[int] | None = None) -> KnownObjects:
    """Return of what is there now what the advice of a finding may need.

    ``among`` are the OIDs of the tables that it may be about; None for any table.
    """
    tables = [None if among is None else array(among)]
    columns = [*rows_by_name(session, _COLUMNS, tables)]
    return KnownObjects(
        {name: definition for name, (definition,) in rows_by_name(session, _INDEXES, tables)},
        _definitions_by_table(session, _CONSTRAINTS, tables),
        {table: column for table, (column,) in rows_by_name(session, _KEYS, tables)},
        _columns_of_tables(session, _REQUIRED, tables),
        _columns_of_tables(session, _PLAIN, tables),
        types={(table, name): kind for table, (name, kind, _of, _on) in columns},
        defaults={(table, name): of for table, (name, _kind, of, _on) in columns if of},
        comments={(table, name): on for table, (name, _kind, _of, on) in columns if on},
        partitions=_partitions(session),
        counting=read_counting(session, tables),
        own_functions=read_own_functions(session),
    )


def read_known(session: Session) -> KnownObjects:
    """Return what is there now."""
    return replace(
        read_for_advice(session),
        not_null=_columns_of_tables(session, _NOT_NULL),
        row_security=frozenset(name for name, _nothing in rows_by_name(session, _ROW_SECURITY)),
        identities={
            (table, column): Identity(generated, sequence)
            for table, (column, generated, sequence) in rows_by_name(session, _IDENTITIES)
        },
        sequences=_definitions_by_table(session, _SEQUENCES),
    )


def _definitions_by_table(
    session: Session, sql: str, params: Sequence[str | None] = ()
) -> dict[tuple[str, str], str]:
    """Return (table, name of a part of it) → its definition."""
    return {(table, name): text for table, (name, text) in rows_by_name(session, sql, params)}


def _columns_of_tables(
    session: Session, sql: str, params: Sequence[str | None] = ()
) -> dict[str, frozenset[str]]:
    """Return table → columns."""
    rows = rows_by_name(session, sql, params)
    return {table: frozenset(columns.split("\n")) for table, (columns,) in rows}


def read_partitioned(session: Session) -> frozenset[str]:
    """Return the partitioned tables."""
    return frozenset(name for name, _nothing in rows_by_name(session, _PARTITIONED))


def _partitions(session: Session) -> dict[str, list[tuple[str, str]]]:
    """Return partitioned table → its partitions, where none of them has partitions in turn."""
    found: dict[str, list[tuple[str, str]]] = {}
    nested = set()
    for table, (schema, name, kind) in rows_by_name(session, _PARTITIONS):
        found.setdefault(table, []).append((schema, name))
        nested |= {table} if kind == "p" else set()
    return {table: names for table, names in found.items() if table not in nested}


def read_partition_indexes(session: Session) -> dict[str, list[PartitionIndex]]:
    """Return index of a partitioned table → the indexes of its partitions."""
    found: dict[str, list[PartitionIndex]] = {}
    for name, (partition, definition, kind) in rows_by_name(session, _PARTITION_INDEXES):
        index = PartitionIndex(partition, definition, nested=kind == "I")
        found.setdefault(name, []).append(index)
    return found
