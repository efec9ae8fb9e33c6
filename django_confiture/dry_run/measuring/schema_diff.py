"""The schema before and after each migration, and the difference.

PostgreSQL counts the rows that a transaction writes to each catalog, so a migration without DDL
costs one small query. After any other, one query finds the tables with a changed catalog row, and
only those are read again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.schema_queries import (
    ALL,
    CHOSEN,
    OTHERS,
    RELATIONS,
    STATE,
    TEMPORARY_RELATIONS,
    VERSIONS,
)
from django_confiture.dry_run.results import MigrationResult, SchemaChange
from django_confiture.dry_run.server.side_channel import Row, Session
from django_confiture.formatting import one_line

_READ = "confiture_schema"
_VERSIONS = "confiture_schema_versions"
_RELATIONS, _OTHERS = "confiture_schema_relations", "confiture_schema_others"

# To parse and plan them takes longer than to run them.
_PREPARED = {
    _VERSIONS: (VERSIONS, ""),
    _RELATIONS: (RELATIONS, "(oid[])"),
    _OTHERS: (OTHERS, "(oid[])"),
}

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
        """Return whether it is unchanged.

        A definition names other objects, which may have another name now: that changes the
        text, but not the catalog row.
        """
        if self.version is not None and self.version == before.version:
            return True
        return (self.name, self.definition) == (before.name, before.definition)


Schema = Mapping[Owner, tuple[SchemaObject, ...]]


class SchemaWatch:
    """Tells what each migration changed in the schema; reads it a first time at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._written, self._search_path = self._state()
        self._schema = dict(self.now())
        self._versions = _versions(self._session.query(f"EXECUTE {_VERSIONS}"))
        self.first: Schema = dict(self._schema)

    def start_here(self) -> None:
        """Take the schema as it is now for the first reading."""
        self.changes()
        self.first = dict(self._schema)

    def close(self) -> None:
        """Drop the prepared statements, which no rollback undoes."""
        with suppress(psycopg.Error):
            rows = self._session.query("SELECT name FROM pg_catalog.pg_prepared_statements")
            for name in {name for (name,) in rows} & _PREPARED.keys():
                self._session.query(f"DEALLOCATE {name}")

    def _prepare(self, prepared: Collection[str]) -> None:
        """Prepare what is not, or not any more: the driver itself may send DEALLOCATE ALL."""
        for name in _PREPARED.keys() - prepared:
            text, parameters = _PREPARED[name]
            self._session.query(f"PREPARE {name} {parameters} AS {text}")

    def changes(self) -> tuple[SchemaChange, ...]:
        """Return what has changed since the last call, or since the first reading."""
        written, search_path = self._state()
        if written is not None and written == self._written:
            return ()
        with self._reading(search_path, f"EXECUTE {_VERSIONS}") as rows:
            versions = _versions(rows)
            touched = {o for o, version in versions.items() if self._versions.get(o) != version}
            gone = self._versions.keys() - versions.keys()
            after = self._read(touched)
        before = {o: objects for o in touched | gone if (objects := self._schema.pop(o, None))}
        self._schema.update(after)
        self._versions, self._written = versions, written
        return differences(before, after)

    def noted(self, result: MigrationResult) -> MigrationResult:
        """Return ``result`` with what has changed since the one before."""
        if self._session.status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
            return result
        try:
            return replace(result, schema_changes=self.changes())
        except psycopg.Error as error:
            reason = one_line(error)
            warning = f"What it changed in the schema is not known: {reason}"
            return replace(result, warnings=(*result.warnings, warning))

    def now(self) -> Schema:
        """Read everything again."""
        with self._reading(self._state()[1]):
            rows = (
                (of_relation, self._session.query(text.replace(CHOSEN, ALL)))
                for of_relation, text in ((True, RELATIONS), (False, OTHERS))
            )
            return _by_owner(rows)

    def _state(self) -> tuple[str | None, str]:
        """Return how much was written to the catalogs, None where unknown, and the search path.

        It is counted within a transaction; between two, the last one has taken its figures along.
        """
        written, counted, search_path, prepared = self._session.query(STATE)[0]
        self._prepare(json.loads(prepared or "[]"))
        known = counted == "on" and self._session.status == TransactionStatus.INTRANS
        return written if known else None, search_path or ""

    def _read(self, owners: Collection[Owner]) -> Schema:
        names = {True: _RELATIONS, False: _OTHERS}
        oids = {
            of_relation: ",".join(str(oid) for kind, oid in owners if kind is of_relation)
            for of_relation in names
        }
        asked = {
            kind: f"EXECUTE {names[kind]} ('{{{found}}}')" for kind, found in oids.items() if found
        }
        answers = self._session.script(";".join(asked.values())) if asked else []
        return _by_owner(zip(asked, answers, strict=True))

    @contextmanager
    def _reading(self, search_path: str, first: str = "SELECT") -> Iterator[list[Row]]:
        """Name everything as the first reading did, and leave neither a lock nor a setting.

        Gives the rows of the ``first`` query, which is sent in the same round trip.
        """
        alone = self._session.status == TransactionStatus.IDLE
        end = "ROLLBACK" if alone else f"ROLLBACK TO SAVEPOINT {_READ}; RELEASE SAVEPOINT {_READ}"
        begin = "BEGIN" if alone else f"SAVEPOINT {_READ}"
        try:
            named = self._search_path if search_path != self._search_path else None
            path = (
                ""
                if named is None
                else f"SELECT set_config('search_path', {_literal(named)}, true);"
            )
            yield self._session.query(
                f"{begin}; SET LOCAL statement_timeout = 0;"
                f" SET LOCAL plan_cache_mode = force_generic_plan; {path}{first}"
            )
        finally:
            self._session.query(end)


def _literal(text: str) -> str:
    return sql.Literal(text).as_string()


def _versions(rows: Iterable[Row]) -> dict[Owner, str | None]:
    return {(kind == "t", int(oid or 0)): version for kind, oid, version in rows}


def read_relations(
    session: Session, oids: Iterable[int], *, temporary: bool = False
) -> Mapping[int, tuple[SchemaObject, ...]]:
    """Return what relations are and own, by OID; ``temporary`` reads temporary tables instead."""
    text = TEMPORARY_RELATIONS if temporary else RELATIONS
    rows = session.query(text, [f"{{{','.join(map(str, oids))}}}"])
    return {oid: objects for (_kind, oid), objects in _by_owner([(True, rows)]).items()}


def _by_owner(rows: Iterable[tuple[bool, list[Row]]]) -> Schema:
    found: defaultdict[Owner, list[SchemaObject]] = defaultdict(list)
    for of_relation, objects in rows:
        for kind, key, owner, version, relation, name, definition in objects:
            found[of_relation, int(owner or 0)].append(
                SchemaObject(kind or "", key or "", version, relation, name or "", definition or "")
            )
    return {owner: tuple(objects) for owner, objects in found.items()}


def differences(before: Schema, after: Schema) -> tuple[SchemaChange, ...]:
    """Return what was added, removed, renamed and changed; an equal re-creation is no change."""
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


_FREE = ("extension", "schema", "type", "domain", "collation", "function")
_TABLES = ("table", "view", "materialized view")


def _by_table(change: SchemaChange) -> tuple[bool, str, bool, bool, str, str, str]:
    """Sort by table; the table before its columns, these before everything else of it."""
    return (
        change.object not in _FREE,
        change.relation or change.name,
        change.object not in _TABLES,
        change.object != "column",
        change.object,
        change.name,
        change.kind,
    )
