"""Reads the schema before the first migration, and what each one has changed in it.

PostgreSQL counts the rows that a transaction writes to each catalog, so a migration without DDL
costs one small query. After any other, one query finds the tables with a catalog row that was
written since the migration began, in those catalogs alone, and only those tables are read again. A
row that is gone is written nowhere: where any was deleted, all tables are asked how many they have.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.schema.schema_objects import (
    Owner,
    Schema,
    SchemaObject,
    differences,
)
from django_confiture.dry_run.measuring.schema.schema_queries import (
    ALL,
    CHOSEN,
    OTHERS,
    RELATIONS,
    TEMPORARY_RELATIONS,
)
from django_confiture.dry_run.measuring.schema.schema_row_queries import (
    ADVANCE,
    CATALOGS,
    COUNTED,
    MAY_ADVANCE,
    NEWEST,
    STATE,
    WRITTEN,
    counts,
)
from django_confiture.dry_run.measuring.schema.schema_rows import (
    EACH,
    Counted,
    Counts,
    State,
    by_owner,
    changed,
    counts_of,
    figures,
    relations_in,
)
from django_confiture.dry_run.measuring.schema.undone_reading import UndoneReading
from django_confiture.dry_run.results import MigrationResult, SchemaChange
from django_confiture.dry_run.server.side_channel import Session, array
from django_confiture.formatting import one_line

_READ = "confiture_schema"
_WRITTEN = "confiture_schema_written"
_RELATIONS, _OTHERS = "confiture_schema_relations", "confiture_schema_others"

# To parse and plan them takes longer than to run them.
_PREPARED = {
    _WRITTEN: (WRITTEN, "(xid, boolean[])"),
    _RELATIONS: (RELATIONS, "(oid[])"),
    _OTHERS: (OTHERS, "(oid[])"),
}

_LOOK_UP = "SET LOCAL enable_seqscan = off;"
_SMALL = 300
"""What is prepared is planned once. Catalogs of so few relations may grow to many times their size
with the plan, and then to go through one for a row is no longer the quickest."""

_FEW = 6
"""So many owners are rather read again than kept from it: that moves the WAL, after which the
prober reads everything."""


class SchemaWatch:
    """Tells what each migration changed in the schema; reads it a first time at once."""

    def __init__(self, session: Session, among: Collection[int] | None = None) -> None:
        """``among`` are the OIDs of the relations that may be changed first; None for all."""
        self._session = session
        self._missed: set[Owner] = set()
        """What the last migration changed though nothing named it, so it was not read before."""
        self._last = self._state()
        self._search_path = self._last.search_path
        self._running = 0
        self._nested = False
        """Whether a migration has called others. What it writes after them may be older than they
        are by the ids of transactions, and it may roll back what they did."""
        counted = self._counts()
        self._counted = Counted(counted)
        if among is not None:  # what our own transaction wrote earlier is found as written again
            written = self._session.query(_written_since(self._last.newest, EACH))
            among = {*among, *(int(oid or 0) for kind, oid in written if kind == "t")}
        self._schema = dict(self.now(among))
        self._first = dict(self._schema)
        relations = relations_in(counted, CATALOGS.index("pg_class"))
        self._planned_for = _LOOK_UP if len(relations) < _SMALL else ""
        self._unread = {each for each in relations if among is not None and each[1] not in among}
        """What was there at first, is not read yet, and has not changed since."""

    @property
    def first(self) -> Schema:
        """The schema before the first migration."""
        self.read_rest()
        return self._first

    def read_rest(self) -> None:
        """Read what is not read yet: any of it may be changed from now on."""
        if not self._unread:
            return
        with self._reading(self._state().search_path, f"{self._planned_for}SELECT") as reading:
            rest, _newest = self._read_owners(self._unread, reading)
        self._unread = set()
        self._schema.update(rest)
        self._first.update(rest)

    def migration_begins(self) -> None:
        """Note that a migration is about to run."""
        self._running += 1
        self._nested = self._nested or self._running > 1
        if self._nested:
            self.read_rest()

    def migration_ended(self) -> None:
        """Note that the last migration is over, with its changes."""
        self._running = max(0, self._running - 1)
        self._nested = self._nested and self._running > 0

    def start_here(self) -> None:
        """Take the schema as it is now for the first reading."""
        self.changes()
        self._first = dict(self._schema)

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
        written = _written_since(self._last.newest, changed(self._last.written, now.written))
        with self._reading(now.search_path, f"{self._planned_for}{written}") as reading:
            touched = {(kind == "t", int(oid or 0)) for kind, oid in reading.first}
            self._counted.written(touched)
            lost = changed(self._last.deleted, now.deleted)
            shrunk = [each and counts for each, counts in zip(lost, COUNTED, strict=True)]
            if any(shrunk):
                touched.update(self._counted.lost(self._counts(shrunk)))
            after, newest = self._read_owners(touched, reading)
        before = {o: objects for o in touched if (objects := self._schema.pop(o, None))}
        self._schema.update(after)
        self._last = replace(now, newest=newest or now.newest)
        self._missed = {o for o in self._unread.intersection(touched) if o in after}
        self._unread.difference_update(touched)
        return differences(before, {o: each for o, each in after.items() if o not in self._missed})

    def _all_changes(self, now: State) -> tuple[SchemaChange, ...]:
        before, self._schema = self._schema, dict(self.now())
        self._counted, self._last = Counted(self._counts()), now
        return differences(before, self._schema)

    def _counts(self, chosen: Sequence[bool] = EACH) -> Counts:
        """Count the rows of the owners, in the chosen catalogs."""
        return counts_of(self._session.query(counts(chosen)))

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
            changes = self.changes()
        except psycopg.Error as error:
            reason = one_line(error)
            warning = f"What it changed in the schema is not known: {reason}"
            return replace(result, warnings=(*result.warnings, warning))
        warnings = (
            f"What it changed in {self._schema[each][0].name} is not known: "
            "no operation of the plan names it."
            for each in self._missed
        )
        self._missed = set()
        return replace(
            result, schema_changes=changes, warnings=(*result.warnings, *sorted(warnings))
        )

    def now(self, among: Collection[int] | None = None) -> Schema:
        """Read everything again, or of relations only those ``among`` these OIDs."""
        with self._reading(self._state().search_path):
            others = self._session.query(OTHERS.replace(CHOSEN, ALL))
            if among is None:
                relations = self._session.query(RELATIONS.replace(CHOSEN, ALL))
            else:
                relations = self._session.query(RELATIONS, [array(among)])
            return by_owner([(True, relations), (False, others)])

    def _state(self) -> State:
        """Ask for the state, and prepare what is not prepared any more.

        Rows are counted within a transaction; between two, the last one has taken its figures
        along.
        """
        written, deleted, counted, search_path, prepared, newest = self._session.query(STATE)[0]
        self._prepare(json.loads(prepared or "[]"))
        known = counted == "on" and self._session.status == TransactionStatus.INTRANS
        return State(
            figures(written) if known else None,
            figures(deleted) if known else None,
            newest or "",
            search_path or "",
        )

    def _read_owners(self, owners: Collection[Owner], reading: UndoneReading) -> tuple[Schema, str]:
        """Read owners; also return the newest transaction, older than what is written from now on.

        It keeps what is read here from being found again, if that is much.
        """
        names = {True: _RELATIONS, False: _OTHERS}
        oids = {
            of_relation: ",".join(str(oid) for kind, oid in owners if kind is of_relation)
            for of_relation in names
        }
        asked = {
            kind: f"EXECUTE {names[kind]} ('{{{found}}}')" for kind, found in oids.items() if found
        }
        if not asked:
            return {}, ""
        advances = len(owners) > _FEW and not reading.alone and self._can_advance
        queries = [*asked.values(), *([ADVANCE] if advances else ())]
        answers, newest = reading.last(queries, f"SELECT {NEWEST}")
        found = by_owner(zip(asked, answers, strict=False))
        return found, newest[0][0] or ""

    @contextmanager
    def _reading(self, search_path: str, first: str = "SELECT") -> Iterator[UndoneReading]:
        """Name everything as the first reading did, and leave neither a lock nor a setting.

        The ``first`` query is sent in the same round trip.
        """
        alone = self._session.status == TransactionStatus.IDLE
        end = "ROLLBACK" if alone else f"ROLLBACK TO SAVEPOINT {_READ}; RELEASE SAVEPOINT {_READ}"
        begin = "BEGIN" if alone else f"SAVEPOINT {_READ}"
        reading = UndoneReading(self._session, end, alone=alone)
        try:
            named = self._search_path if search_path != self._search_path else None
            path = (
                ""
                if named is None
                else f"SELECT set_config('search_path', {sql.Literal(named).as_string()}, true);"
            )
            reading.begin(
                f"{begin}; SET LOCAL statement_timeout = 0;"
                f" SET LOCAL plan_cache_mode = force_generic_plan; {path}{first}"
            )
            yield reading
        finally:
            reading.end()


def _written_since(newest: str, catalogs: Iterable[bool]) -> str:
    """Return the query for what was written to these catalogs since a transaction was new."""
    return f"EXECUTE {_WRITTEN} ('{newest}', '{array(catalogs)}')"


def read_relations(
    session: Session, oids: Iterable[int], *, temporary: bool = False
) -> Mapping[int, tuple[SchemaObject, ...]]:
    """Return what relations are and own, by OID; ``temporary`` reads temporary tables instead."""
    text = TEMPORARY_RELATIONS if temporary else RELATIONS
    rows = session.query(text, [array(oids)])
    return {oid: objects for (_kind, oid), objects in by_owner([(True, rows)]).items()}
