"""What existed before the dry run, and what PostgreSQL's own counters say about it since.

Two queries: one snapshot at the start, and one probe after the statements that matter. The probe
reads, for every relation of the snapshot on which this session holds a lock: the lock modes, the
file node (a new one is a rewrite), the scan and row counters of this transaction, those of its
indexes, and for DDL the indexes and constraints themselves.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django.db.migrations.recorder import MigrationRecorder
from psycopg.errors import LockNotAvailable
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring import probe_queries as queries
from django_confiture.dry_run.measuring.counters import Counters, IndexCounters
from django_confiture.postgres import FIRST_NORMAL_OID

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from django_confiture.dry_run.server.side_channel import Row, Session

    _Reads = Mapping[int, Mapping[int, IndexCounters]]
    _Counted = tuple[dict[int, Counters], _Reads, int]
    """This session's counters by table, those of indexes, and the WAL's position."""

_COUNTED = f"{queries.COUNTERS};{queries.INDEX_READS};{queries.WAL}"


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation of the snapshot; sizes in bytes, ``rows`` as of the last ANALYZE (-1: none)."""

    oid: int
    schema: str
    name: str
    kind: str
    filenode: int
    rows: int
    visible: bool
    size: int
    table: int | None
    """The table's OID where this is an index."""
    dead: int = 0
    """Dead rows that VACUUM has not removed yet."""

    @property
    def shown(self) -> str:
        """The name as reports print it: with its schema only outside the search path."""
        return self.name if self.visible else f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Observed:
    """What one probe saw of one relation."""

    modes: frozenset[str]
    filenode: int | None
    counters: Counters
    indexes: Mapping[str, int] | None = None
    """Index name → file node; None where the probe did not ask."""
    constraints: Mapping[str, bool] | None = None
    """Constraint name → validated."""
    index_reads: Mapping[int, IndexCounters] = field(default_factory=dict)
    """By the index's OID; only of those that were read."""


@dataclass(frozen=True)
class Probe:
    """One reading: the WAL position in bytes, and every locked relation of the snapshot."""

    wal: int
    relations: Mapping[int, Observed] = field(default_factory=dict)
    activity: str = ""
    """A text that changes when the session locks, reads or writes anything; ``""`` if not asked."""


class Catalog:
    """The relations that existed before the dry run, by OID."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.relations = {
            # Django's own record of what is applied does not count as a cost of the migration.
            relation.oid: relation
            for relation in map(_relation, self._read_relations())
        }
        self._last = max(self.relations, default=FIRST_NORMAL_OID)
        self._known = queries.known(self._last, ())
        self._indexes = self._read_indexes()
        self._constraints = self._read_constraints()
        self.own_dead: Counter[tuple[int, int | None]] = Counter()
        """Versions of rows that the dry run wrote for itself and undid, by table and file."""

    def take_in_successors(self) -> frozenset[int]:
        """Count relations that now have the name of one of the snapshot as if they were of it.

        A new table that was given the name of the old one is the one that everyone then uses.
        Returns the OIDs of those that are new here.
        """
        names = {(each.schema, each.name) for each in self.relations.values() if not each.table}
        rows = map(_relation, self._session.query(queries.NEW_RELATIONS, [self._last]))
        new = [each for each in rows if each.oid not in self.relations]
        found = {each.oid for each in new if not each.table and (each.schema, each.name) in names}
        if found:
            taken_in = [each for each in new if each.oid in found or each.table in found]
            self.relations |= {each.oid: each for each in taken_in}
            later = (oid for oid in self.relations if oid > self._last)
            self._known = queries.known(self._last, later)
            self._indexes, self._constraints = self._read_indexes(), self._read_constraints()
        return frozenset(found)

    def _read_relations(self) -> list[Row]:
        """Read all relations; while another session locks one, with sizes as of the last VACUUM."""
        own = [MigrationRecorder.Migration._meta.db_table]
        if self._session.status != TransactionStatus.INTRANS:
            return self._session.query(queries.MEASURED, own)
        try:
            with self._session.undone():
                self._session.query("SET LOCAL lock_timeout = '100ms'")
                return self._session.query(queries.MEASURED, own)
        except LockNotAvailable:
            return self._session.query(queries.IN_PAGES, own)

    def _read_indexes(self) -> Mapping[int, dict[str, int]]:
        found: dict[int, dict[str, int]] = {}
        for relation in self.relations.values():
            if relation.table is not None:
                found.setdefault(relation.table, {})[relation.name] = relation.filenode
        return found

    def _read_constraints(self) -> Mapping[int, dict[str, bool]]:
        found: dict[int, dict[str, bool]] = {}
        rows = self._session.query(
            "SELECT conrelid, conname, convalidated FROM pg_catalog.pg_constraint"
            f" WHERE conrelid >= {FIRST_NORMAL_OID}"
        )
        for oid, name, validated in rows:
            found.setdefault(int(oid or 0), {})[name or ""] = validated == "t"
        return found

    def at_start(self) -> Probe:
        """Return the reading before the first statement, as if every relation were locked.

        Counters of earlier transactions of this session may not be flushed yet.
        """
        counted, reads, wal = self._counted()
        uncounted, nothing = Counters(), dict[Any, Any]()
        return Probe(
            wal,
            {
                oid: Observed(
                    frozenset(),
                    relation.filenode,
                    counted.get(oid, uncounted),
                    self._indexes.get(oid, nothing),
                    self._constraints.get(oid, nothing),
                    reads.get(oid, nothing),
                )
                for oid, relation in self.relations.items()
            },
        )

    def recounted(self, before: Probe) -> Probe:
        """Return a reading with the counters of now, and all else as it was.

        No rollback to a savepoint takes back what was counted.
        """
        if not before.relations:
            return replace(before, wal=self.wal())
        return self._recounted(before, *self._counted())

    def recounted_and_probed(self, before: Probe) -> tuple[Probe, Probe]:
        """Return such a reading, and what :meth:`probe` does, in one round trip."""
        if not before.relations:
            return replace(before, wal=(found := self.probe()).wal), found
        *counted, ((wal, activity, relations),) = self._session.script(
            f"{_COUNTED};{self._locked(())}"
        )
        return (
            self._recounted(before, *_counted(counted)),
            self._probed(wal, activity, relations),
        )

    def _recounted(
        self, before: Probe, counted: Mapping[int, Counters], reads: _Reads, wal: int
    ) -> Probe:
        relations = dict(before.relations)
        for oid, seen in before.relations.items():
            now = counted.get(oid, seen.counters)
            index_reads = reads.get(oid, seen.index_reads)
            relations[oid] = replace(seen, counters=now, index_reads=index_reads)
        return Probe(wal, relations)

    def note_own(self, before: Probe, after: Probe) -> None:
        """Note what was written between two readings as the dry run's own, which it has undone."""
        for oid, seen in before.relations.items():
            now = after.relations[oid].counters
            if (written := now.since(seen.counters).new_versions) > 0:  # less after a reset
                self.own_dead[oid, seen.filenode] += written

    def index_reads(self) -> Mapping[int, Mapping[int, IndexCounters]]:
        """Return what this session has read of indexes, by table and index."""
        return _index_reads(self._session.value(queries.INDEX_READS))

    def _counted(self) -> _Counted:
        return _counted(self._session.script(_COUNTED))

    def probe(self, before: str = "", *, objects: Collection[int] | None = ()) -> Probe:
        """Read everything now; of the tables ``objects``, of all for None, what belongs to them.

        That is indexes and constraints. ``before`` is SQL to run in the same round trip.
        """
        if not self.relations:
            return Probe(self.wal(before))
        return self._probed(*self._session.query(before + self._locked(objects))[0])

    def _locked(self, objects: Collection[int] | None) -> str:
        return queries.LOCKED.format(known=self._known, objects=queries.objects(objects))

    def _probed(self, wal: str | None, activity: str | None, relations: str | None) -> Probe:
        return Probe(
            int(wal or 0),
            {
                row[0]: _observed(row)
                for row in json.loads(relations or "[]")
                # An index that was dropped has no kind any more on the server's side.
                if row[0] in self.relations and self.relations[row[0]].table is None
            },
            activity or "",
        )

    def activity(self) -> str:
        """Return a text that changes with whatever this session does to the relations."""
        return self._session.value(queries.ACTIVITY.format(known=self._known))

    def glance(self, before: str = "") -> tuple[int, str]:
        """Return the position of WAL insertion and the activity; ``before`` is SQL to run first."""
        if not self.relations:
            return self.wal(before), ""
        sql = before + queries.GLANCE.format(known=self._known)
        ((wal, activity),) = self._session.query(sql)
        return int(wal or 0), activity or ""

    def wal(self, before: str = "") -> int:
        """Return the position of WAL insertion, in bytes."""
        return int(self._session.value(before + queries.WAL))


def _counted(answers: Sequence[list[Row]]) -> _Counted:
    counted, ((reads,),), ((wal,),) = answers
    of_tables = {
        int(oid or 0): Counters(*(int(value or 0) for value in values)) for oid, *values in counted
    }
    return of_tables, _index_reads(reads), int(wal or 0)


def _index_reads(text: str | None) -> Mapping[int, Mapping[int, IndexCounters]]:
    found: dict[int, dict[int, IndexCounters]] = {}
    for table, index, *row in json.loads(text or "[]"):
        found.setdefault(table, {})[index] = IndexCounters(*row)
    return found


def _relation(row: tuple[str | None, ...]) -> Relation:
    oid, schema, name, kind, filenode, rows, visible, size, table, dead = row
    return Relation(
        int(oid or 0),
        schema or "",
        name or "",
        kind or "",
        int(filenode or 0),
        int(rows or 0),
        visible == "t",
        int(size or 0),
        int(table) if table is not None else None,
        int(dead or 0),
    )


def _observed(row: list[Any]) -> Observed:
    *_, reads, indexes, constraints, asked = row
    return Observed(
        frozenset(row[1]),
        row[2],
        Counters(*row[3:9]),
        (indexes or {}) if asked else None,
        (constraints or {}) if asked else None,
        {index: IndexCounters(*counted) for index, *counted in reads or ()},
    )
