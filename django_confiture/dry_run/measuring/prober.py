"""The prober: asks the server between two statements what the last one did."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.effects import (
    Effects,
    counted_in_vain,
    effects,
    merge,
)
from django_confiture.dry_run.measuring.relations import Probe
from django_confiture.dry_run.measuring.unread import Unread
from django_confiture.dry_run.sql.parsing.parser import Kind

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Catalog, Observed
    from django_confiture.dry_run.measuring.stopwatch import Stopwatch
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

_FRESH_S = 0.005
"""A reading younger than this also serves as the one before the next statement."""


class Prober:
    """Reads locks, files, counters and the WAL's position of one session."""

    def __init__(self, session: Session, catalog: Catalog, clock: Stopwatch) -> None:
        self._session = session
        self._catalog = catalog
        self._clock = clock
        self._looked_at = clock.now()
        self._last = catalog.at_start()
        self.unread = Unread(clock)
        self._wrote = False
        """Whether the transaction's COMMIT may have deferred constraints to check."""
        self._read_at: tuple[Probe, float] | None = None
        """The last reading after a statement, and when it was."""

    @property
    def last(self) -> Probe:
        """The last reading, completed with what the earlier ones know."""
        return self._last

    @property
    def looked_at(self) -> float:
        """When it last asked the server, by the stopwatch."""
        return self._looked_at

    @property
    def possible(self) -> bool:
        """Whether anything can be asked now."""
        usable = self._session.status == TransactionStatus.INTRANS
        return usable and not self._session.in_pipeline

    def look_before(self, savepoint: str, *, probing: bool) -> bool:
        """Set the savepoint and look at the session, in one round trip or none.

        Returns whether the session did anything since the last reading: it was not caught, and is
        still to be read.
        """
        self.unread.statement_follows()
        if not probing or (self._fresh and not self._catalog.relations):
            if savepoint:
                self._session.query(savepoint)
        else:
            wal, activity = self._catalog.glance(savepoint)
            if activity != self._last.activity and self._catalog.relations:
                return True
            self._last = replace(self._last, wal=wal)
        self._looked_at = self._clock.now()
        return False

    @property
    def _fresh(self) -> bool:
        if self._read_at is None or self.unread.runs:
            return False
        probe, when = self._read_at
        return probe is self._last and perf_counter() - when < _FRESH_S

    def look_after(
        self,
        release: str = "",
        statement: Statement | None = None,
        predicted: Sequence[tuple[int, str]] = (),
    ) -> Effects:
        """Return what has happened since the last reading."""
        now = merge(self._last, self._read_all(release, _with_objects(statement, predicted)))
        runs = max(1, self.unread.runs)
        measured = effects(self._catalog, self._last, now, statement, predicted, runs)
        self._last = now
        self._read_at = now, perf_counter()
        self._looked_at = self._clock.now()
        self.unread.read()
        self._wrote = self._wrote or bool(measured.writes)
        return measured

    def _read_all(self, release: str, objects: Collection[int] | None) -> Probe:
        """Read everything, with what belongs to these tables and to any other that was locked."""
        found = self._catalog.probe(release, objects=objects)
        if not objects or not any(map(self._is_surprise, found.relations.items())):
            return found
        return self._catalog.probe(objects=None)

    def _is_surprise(self, seen: tuple[int, Observed]) -> bool:
        """Return whether a table is locked more strongly whose objects were not asked for."""
        oid, now = seen
        return now.indexes is None and not now.modes <= self._last.relations[oid].modes

    def has_moved(self) -> bool:
        """Return whether the session did anything since the last reading, caught or not."""
        if not self._catalog.relations or self._catalog.activity() == self._last.activity:
            self._looked_at = self._clock.now()
            return False
        return True

    def go_back_to(self, then: Mapping[int, Observed]) -> None:
        """Restore an earlier ``last.relations``, except for counters, which never go back.

        Nor does the lock of ``nextval`` on its sequence, which the whole transaction holds.
        """
        known = self._catalog.relations
        relations = {
            oid: now
            if (old := then.get(oid, now)) is now or known[oid].kind == "S"
            else replace(old, counters=now.counters, index_reads=now.index_reads)
            for oid, now in self._last.relations.items()
        }
        self._last = replace(self._last, relations=relations)

    def start_from(self, reading: Probe) -> None:
        """Use a reading that was made in another way as the last one."""
        self._last = reading
        self.unread.read()

    def take_in_successors(self) -> bool:
        """Count new relations with old names too; return whether the server could be asked."""
        if self._session.status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
            return False
        with self._clock.stopped():
            if new := self._catalog.take_in_successors():
                seen = self._catalog.probe(objects=None).relations
                blank = self._catalog.at_start().relations
                relations = {oid: seen.get(oid, blank[oid]) for oid in new}
                self._last = replace(self._last, relations={**self._last.relations, **relations})
        return True

    def recount(self) -> None:
        """Discard what was counted meanwhile: no statement is charged with it."""
        before, self._last = self._last, self._catalog.recounted(self._last)
        self._catalog.note_own(before, self._last)

    def look_after_rollback(self) -> Effects:
        """Return what was read and written since the last reading by what is undone by now.

        Its locks are gone, and with them what tells which tables to ask about.
        """
        before, self._last = self._last, self._catalog.recounted(self._last)
        return counted_in_vain(self._catalog, before, self._last, max(1, self.unread.runs))

    def pass_over(self) -> None:
        """Discard what was counted and locked meanwhile: no statement is charged with it."""
        before = self._last
        recounted, probed = self._catalog.recounted_and_probed(before)
        self._catalog.note_own(before, recounted)
        self._last = merge(recounted, probed)

    def committed_with_statement(self) -> None:
        """Note that what the COMMIT checks was measured with its statement."""
        self._wrote = False

    def commit_checked(self) -> None:
        """Keep what COMMIT read from being what the next statement did."""
        if self._wrote:
            self.unread.add()
            self._wrote = False


def _with_objects(
    statement: Statement | None, predicted: Sequence[tuple[int, str]]
) -> Collection[int] | None:
    """Return the tables whose indexes and constraints a statement may change, None for any.

    DDL that calls no function changes those of the tables that it locks.
    """
    if statement is not None and statement.kind in (Kind.DML, Kind.SELECT):
        return ()
    if statement is None or statement.kind is not Kind.DDL or not predicted:
        return None
    if statement.functions_called:  # which goes through the whole tree, so it is asked last
        return None
    return {oid for oid, _mode in predicted}
