"""The schema before and after each migration, and the difference.

PostgreSQL counts the rows that a transaction writes to each catalog, so a migration without DDL
costs one small query. After any other, one query finds the tables of which a catalog row is
another one than before, and only those are read again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.results import MigrationResult, SchemaChange
from django_confiture.dry_run.schema_objects import OTHERS, RELATIONS, VERSIONS, WRITES
from django_confiture.dry_run.session import Row, Session

_READ = "confiture_schema"

Owner = tuple[bool, int]
"""Whether it is a relation, and its OID."""


@dataclass(frozen=True)
class SchemaObject:
    """One object of the schema."""

    kind: str
    key: str
    """The same as long as the object lives: its OID, for a column also its number."""
    version: str | None
    """Where its catalog rows are; None where its definition alone tells whether it changed."""
    relation: str | None
    """The table that it belongs to."""
    name: str
    definition: str

    def is_as(self, before: SchemaObject) -> bool:
        """Say whether nobody changed it.

        A definition names other objects, which may have another name now: that changes the
        text, but not the catalog row.
        """
        if self.version is not None and self.version == before.version:
            return True
        return (self.name, self.definition) == (before.name, before.definition)


Schema = Mapping[Owner, tuple[SchemaObject, ...]]


class SchemaWatch:
    """Says what each migration changed; the first reading is made at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._search_path = session.value("SELECT current_setting('search_path')")
        self._written = self._writes()
        with self._reading():
            self._versions = self._read_versions()
            self._schema = self._read(None)
        self.first: Schema = dict(self._schema)

    def changes(self) -> tuple[SchemaChange, ...]:
        """Return what has changed since the last call, or since the first reading."""
        written = self._writes()
        if written is not None and written == self._written:
            return ()
        with self._reading():
            versions = self._read_versions()
            touched = {o for o, version in versions.items() if self._versions.get(o) != version}
            gone = self._versions.keys() - versions.keys()
            after = self._read(touched)
        before = {o: objects for o in touched | gone if (objects := self._schema.pop(o, None))}
        self._schema.update(after)
        self._versions, self._written = versions, written
        return differences(before, after)

    def noted(self, result: MigrationResult) -> MigrationResult:
        """Return ``result`` with what has changed since the one before."""
        if self._session.status != TransactionStatus.INTRANS:
            return result
        try:
            return replace(result, schema_changes=self.changes())
        except psycopg.Error as error:
            reason = " ".join(str(error).split())
            warning = f"What it changed in the schema is not known: {reason}"
            return replace(result, warnings=(*result.warnings, warning))

    def now(self) -> Schema:
        """Read everything again."""
        with self._reading():
            return self._read(None)

    def _writes(self) -> str | None:
        """Return how much was written to the catalogs so far; None where that is not counted."""
        written, counted = self._session.query(f"SELECT {WRITES}, current_setting('track_counts')")[
            0
        ]
        return written if counted == "on" else None

    def _read_versions(self) -> dict[Owner, str | None]:
        rows = self._session.query(VERSIONS)
        return {(kind == "t", int(oid or 0)): version for kind, oid, version in rows}

    def _read(self, owners: Iterable[Owner] | None) -> dict[Owner, tuple[SchemaObject, ...]]:
        found: defaultdict[Owner, list[SchemaObject]] = defaultdict(list)
        for of_relation, sql in ((True, RELATIONS), (False, OTHERS)):
            chosen = None
            if owners is not None:
                oids = [str(oid) for each, oid in owners if each is of_relation]
                if not oids:
                    continue
                chosen = f"{{{','.join(oids)}}}"
            for row in self._session.query(sql, [chosen]):
                found[of_relation, int(row[2] or 0)].append(_object(row))
        return {owner: tuple(objects) for owner, objects in found.items()}

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Name everything as the first reading did, and leave neither a lock nor a setting."""
        self._session.query(f"SAVEPOINT {_READ}")
        try:
            self._session.query(
                "SELECT set_config('search_path', $1, true),"
                " set_config('statement_timeout', '0', true)",
                [self._search_path],
            )
            yield
        finally:
            self._session.query(f"ROLLBACK TO SAVEPOINT {_READ}")
            self._session.query(f"RELEASE SAVEPOINT {_READ}")


def differences(before: Schema, after: Schema) -> tuple[SchemaChange, ...]:
    """Return what was added, removed, renamed and changed; made anew as it was is no change."""
    old = {(each.kind, each.key): each for objects in before.values() for each in objects}
    new = {(each.kind, each.key): each for objects in after.values() for each in objects}
    pairs = [(old.pop(key), new.pop(key)) for key in [*new] if key in old]
    named = {(each.kind, each.relation, each.name): key for key, each in old.items()}
    for key, each in [*new.items()]:
        replaced = named.pop((each.kind, each.relation, each.name), None)
        if replaced is not None:
            pairs.append((old.pop(replaced), new.pop(key)))
    changes = [
        *(_removed(each) for each in old.values()),
        *(_added(each) for each in new.values()),
        *(change for was, now in pairs for change in _changed(was, now)),
    ]
    return tuple(sorted(changes, key=_by_table))


def reordered(before: Schema, after: Schema) -> tuple[str, ...]:
    """Return the tables with the same columns in another order."""
    old, new = _columns(before), _columns(after)
    return tuple(
        sorted(
            table
            for table, columns in new.items()
            if columns != old.get(table, columns) and sorted(columns) == sorted(old[table])
        )
    )


def _columns(schema: Schema) -> dict[str, list[str]]:
    found: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for objects in schema.values():
        for each in objects:
            if each.kind == "column" and each.relation is not None:
                found[each.relation].append((int(each.key.partition(".")[2]), each.name))
    return {table: [name for _, name in sorted(columns)] for table, columns in found.items()}


def _object(row: Row) -> SchemaObject:
    kind, key, _owner, version, relation, name, definition = row
    return SchemaObject(kind or "", key or "", version, relation, name or "", definition or "")


def _added(each: SchemaObject) -> SchemaChange:
    return SchemaChange("added", each.kind, each.relation, each.name, None, each.definition)


def _removed(each: SchemaObject) -> SchemaChange:
    return SchemaChange("removed", each.kind, each.relation, each.name, each.definition, None)


def _changed(was: SchemaObject, now: SchemaObject) -> Iterator[SchemaChange]:
    if now.is_as(was):
        return
    if now.name != was.name:
        yield SchemaChange("renamed", now.kind, now.relation, now.name, was.name, now.name)
    if now.definition != was.definition:
        yield SchemaChange(
            "changed", now.kind, now.relation, now.name, was.definition, now.definition
        )


_ORDER = ("extension", "schema", "type", "domain", "collation", "function", "table", "column")


def _by_table(change: SchemaChange) -> tuple[str, int, str, str, str]:
    """Sort by table; the table before its columns, these before everything else of it."""
    rank = _ORDER.index(change.object) if change.object in _ORDER else len(_ORDER)
    owner = change.relation or (change.name if rank >= _ORDER.index("table") else "")
    return owner, rank, change.object, change.name, change.kind
