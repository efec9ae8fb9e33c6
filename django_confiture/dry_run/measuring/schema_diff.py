"""Reads the schema before the first migration, and what each one has changed in it.

PostgreSQL counts the rows that a transaction writes to each catalog, so a migration without DDL
costs one small query. After any other, one query finds the tables with a catalog row that was
written since the migration began, and only those are read again. A row that is gone is written
nowhere: where the number of rows does not add up, all tables are asked how many they have left.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.schema_objects import (
    Owner,
    Schema,
    SchemaObject,
    differences,
)
from django_confiture.dry_run.measuring.schema_queries import (
    ADVANCE,
    ALL,
    CHOSEN,
    MAY_ADVANCE,
    OTHERS,
    RELATIONS,
    STATE,
    TEMPORARY_RELATIONS,
    WRITTEN,
)
from django_confiture.dry_run.measuring.undone_reading import UndoneReading
from django_confiture.dry_run.results import MigrationResult, SchemaChange
from django_confiture.dry_run.server.side_channel import Row, Session
from django_confiture.formatting import one_line

_READ = "confiture_schema"
_WRITTEN = "confiture_schema_written"
_RELATIONS, _OTHERS = "confiture_schema_relations", "confiture_schema_others"

# To parse and plan them takes longer than to run them.
_PREPARED = {
    _WRITTEN: (WRITTEN, "(xid, boolean)"),
    _RELATIONS: (RELATIONS, "(oid[])"),
    _OTHERS: (OTHERS, "(oid[])"),
}

_MANY = 20
"""More owners than a migration mostly writes rows of: some of them were read before."""


@dataclass(frozen=True)
class _State:
    """What one small query tells about the transaction."""

    written: str | None
    """How many rows it wrote to the catalogs; None where that is not known."""
    newest: str
    """No transaction that begins to write from now on has an older id."""
    search_path: str


@dataclass(frozen=True)
class _Owned:
    """How many catalog rows owners have."""

    rows: Mapping[Owner, int]
    written: set[Owner]
    """Those of which a row is new."""
    total: int
    """The rows of all owners, asked for or not."""

    @classmethod
    def of(cls, answer: list[Row]) -> _Owned:
        """Parse the rows of the query; the last one has the total."""
        *rows, (_kind, _oid, total, _written) = answer
        known = [((kind == "t", int(oid or 0)), count, new) for kind, oid, count, new in rows]
        return cls(
            {owner: int(count or 0) for owner, count, _new in known},
            {owner for owner, _count, new in known if new == "t"},
            int(total or 0),
        )


class SchemaWatch:
    """Tells what each migration changed in the schema; reads it a first time at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last = self._state()
        self._search_path = self._last.search_path
        self._running = 0
        self._nested = False
        """Whether a migration has called others. What it writes after them may be older than they
        are by the ids of transactions, and it may roll back what they did."""
        self._schema = dict(self.now())
        self._rows = self._all_rows()
        self.first: Schema = dict(self._schema)

    def migration_begins(self) -> None:
        """Note that a migration is about to run."""
        self._running += 1
        self._nested = self._nested or self._running > 1

    def migration_ended(self) -> None:
        """Note that the last migration is over, with its changes."""
        self._running = max(0, self._running - 1)
        self._nested = self._nested and self._running > 0

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
        now = self._state()
        if self._nested:
            return self._all_changes(now)
        if now.written is not None and now.written == self._last.written:
            return ()
        with self._reading(now.search_path, _written_since(self._last)) as reading:
            touched, self._rows = self._touched(reading.first)
            after = self._read(touched, reading)
        before = {o: objects for o in touched if (objects := self._schema.pop(o, None))}
        self._schema.update(after)
        self._last = self._advanced(now) if len(touched) > _MANY else now
        return differences(before, after)

    def _all_changes(self, now: _State) -> tuple[SchemaChange, ...]:
        before, self._schema = self._schema, dict(self.now())
        self._rows, self._last = self._all_rows(), now
        return differences(before, self._schema)

    def _all_rows(self) -> Mapping[Owner, int]:
        return _Owned.of(self._session.query(_written_since(self._last, every=True))).rows

    def _touched(self, rows: list[Row]) -> tuple[Collection[Owner], Mapping[Owner, int]]:
        """Return the owners of which a row was written or is gone, and the rows of all owners."""
        found = _Owned.of(rows)
        more = sum(count - self._rows.get(owner, 0) for owner, count in found.rows.items())
        if sum(self._rows.values()) + more == found.total:
            return found.written, {**self._rows, **found.rows}
        found = _Owned.of(self._session.query(_written_since(self._last, every=True)))
        fewer = {o for o, count in self._rows.items() if found.rows.get(o, 0) < count}
        return found.written | fewer, found.rows

    def _advanced(self, now: _State) -> _State:
        """Return a state that keeps what was read just now from being found again."""
        if self._session.status != TransactionStatus.INTRANS or not self._can_advance:
            return now
        return replace(now, newest=self._session.value(ADVANCE.format(savepoint=_READ)))

    @cached_property
    def _can_advance(self) -> bool:
        return self._session.value(MAY_ADVANCE) == "t"

    def noted(self, result: MigrationResult) -> MigrationResult:
        """Return the ``result`` of the migration that has ended with what it changed."""
        try:
            return self._noted(result)
        finally:
            self.migration_ended()

    def _noted(self, result: MigrationResult) -> MigrationResult:
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
        with self._reading(self._state().search_path):
            rows = (
                (of_relation, self._session.query(text.replace(CHOSEN, ALL)))
                for of_relation, text in ((True, RELATIONS), (False, OTHERS))
            )
            return _by_owner(rows)

    def _state(self) -> _State:
        """Ask for the state, and prepare what is not prepared any more.

        Rows are counted within a transaction; between two, the last one has taken its figures
        along.
        """
        written, counted, search_path, prepared, newest = self._session.query(STATE)[0]
        self._prepare(json.loads(prepared or "[]"))
        known = counted == "on" and self._session.status == TransactionStatus.INTRANS
        return _State(written if known else None, newest or "", search_path or "")

    def _read(self, owners: Collection[Owner], reading: UndoneReading) -> Schema:
        names = {True: _RELATIONS, False: _OTHERS}
        oids = {
            of_relation: ",".join(str(oid) for kind, oid in owners if kind is of_relation)
            for of_relation in names
        }
        asked = {
            kind: f"EXECUTE {names[kind]} ('{{{found}}}')" for kind, found in oids.items() if found
        }
        answers = reading.last(asked.values()) if asked else []
        return _by_owner(zip(asked, answers, strict=True))

    @contextmanager
    def _reading(self, search_path: str, first: str = "SELECT") -> Iterator[UndoneReading]:
        """Name everything as the first reading did, and leave neither a lock nor a setting.

        The ``first`` query is sent in the same round trip.
        """
        alone = self._session.status == TransactionStatus.IDLE
        end = "ROLLBACK" if alone else f"ROLLBACK TO SAVEPOINT {_READ}; RELEASE SAVEPOINT {_READ}"
        begin = "BEGIN" if alone else f"SAVEPOINT {_READ}"
        reading = UndoneReading(self._session, end)
        try:
            named = self._search_path if search_path != self._search_path else None
            path = (
                ""
                if named is None
                else f"SELECT set_config('search_path', {_literal(named)}, true);"
            )
            reading.begin(
                f"{begin}; SET LOCAL statement_timeout = 0;"
                f" SET LOCAL plan_cache_mode = force_generic_plan; {path}{first}"
            )
            yield reading
        finally:
            reading.end()


def _literal(text: str) -> str:
    return sql.Literal(text).as_string()


def _written_since(begun: _State, *, every: bool = False) -> str:
    return f"EXECUTE {_WRITTEN} ('{begun.newest}', {str(every).lower()})"


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
