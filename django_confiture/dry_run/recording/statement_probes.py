"""Asks the server what each statement did: right after it, or at the next boundary.

Probing after every statement would double the run time. So DDL is probed one by one, each DML
text a few times, each SELECT once, and the rest once at the next boundary: where a section begins
or ends, before a statement that is probed, and, on a clone, before a COMMIT.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.effects import Effects
from django_confiture.dry_run.measuring.emptied import found_empty
from django_confiture.dry_run.recording.instruments import Instruments
from django_confiture.dry_run.recording.lock_notes import LockNotes, Predicted
from django_confiture.dry_run.recording.sections import SectionEntry
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement

_AT_BOUNDARY = {"fetch_stmt", "declare_cursor_stmt", "constraints_set_stmt", "prepare_stmt"}
"""Statements that lock or read for another one, as cursors of the server do: asked about later."""

_PROBED_RUNS = {Kind.DML: 3, Kind.OPAQUE: 3, Kind.SELECT: 1}
"""After so many runs of one text in an operation, the rest is measured at its end."""

_RANK = {Kind.SELECT: 0, Kind.DML: 2, Kind.DDL: 3}
"""Of several statements, which one is charged with what they did together; others have 1."""


@dataclass(frozen=True)
class Care:
    """How carefully one statement is measured."""

    entry: SectionEntry
    started: float
    probing: bool = False
    predicted: Predicted = ()
    plain: bool = False
    """What is run is a form of it that a transaction can hold."""
    empty: Collection[int] = ()
    """The tables that it would empty, if they had rows."""


class StatementProbes:
    """Asks before and after statements, and notes the answers in the log and the timeline."""

    def __init__(self, instruments: Instruments) -> None:
        self._session = instruments.session
        self._clock = instruments.clock
        self._catalog = instruments.catalog
        self._log = instruments.log
        self._prober = instruments.prober
        self.locks = LockNotes(instruments)
        self._dead_space = instruments.dead_space
        self._successors = instruments.successors

    def boundary(self, place: str = "") -> None:
        """Give what the server counted since the last reading to the statement that did it.

        What no statement did that was caught is noted as unseen; ``place`` says where that was.
        """
        with self._clock.stopped():
            if self._session.status != TransactionStatus.INTRANS or self._session.in_pipeline:
                return
            self.charge_refused()
            if self._prober.unread.runs:
                self._settle()
            elif self._prober.has_moved():
                self._note_unseen(place)
            self._prober.unread.boundary_passed()

    def boundary_before(self) -> None:
        """Do so where something begins, unless it is where something else has just ended.

        Between two operations or two receivers Django alone is at work; what reached the server
        there all the same is found at the next boundary.
        """
        if not self._prober.unread.at_boundary:
            self.boundary()

    def boundary_of_django(self) -> None:
        """End what Django alone has done: ask only about statements that are not asked about yet.

        What reached the server there all the same is found at the next boundary.
        """
        if self._prober.unread.runs or self._log.refused is not None:
            self.boundary()
        elif self._prober.possible:
            self._prober.unread.boundary_passed()

    def _note_unseen(self, place: str) -> None:
        """Charge what was not caught to the section; it began after the last look at the server."""
        started = self._prober.looked_at
        found = self._log.section.attributed(self._read_effects())
        if not found.matters:
            return
        entry = self._log.noted_unseen()
        entry.note = place
        entry.begin(started)
        entry.duration_ms = (self._clock.now() - started) * 1000
        entry.effects.append(found)
        self._successors.ran(entry.statement, found)
        self.locks.note(found, entry.shown, started)
        self.locks.note_rows(entry.changes | entry.row_locks, started)

    def _settle(self) -> None:
        rest = self._read_effects()
        unread = [entry for entry in self._log.section.entries if entry.unread]
        if not unread:
            return
        # A SELECT did not write what was written, and only DDL did what is left then: asked last.
        changing = sorted(unread, key=lambda e: _RANK.get(e.statement.kind, 1))
        rest = self._log.section.attributed(rest)
        entry, wrote = changing[-1], [e for e in changing if e.statement.kind is not Kind.DDL]
        if wrote and entry not in wrote:  # what was sent in a pipeline is asked about together
            self._charge(wrote[-1], Effects(writes=rest.writes))
            rest = replace(rest, writes=())
        self._charge(entry, rest)

    def _charge(self, entry: SectionEntry, rest: Effects) -> None:
        """Give what was found at a boundary to a statement; it may have come with the first."""
        since = self._prober.unread.since
        known = entry.changes | entry.row_locks
        entry.effects.append(rest)
        entry.unread = False
        self.locks.note(rest, entry.shown, since)
        self.locks.note_rows((entry.changes | entry.row_locks) - known, since)

    def read_before(
        self, statement: Statement, cursor: Any, *, savepoint: str = "", plain: bool = False
    ) -> Care:
        """Read what there is before a statement, and set its savepoint in the same round trip."""
        self.charge_refused()
        entry = self._log.noted(statement)
        probing = self._is_probed(statement, entry, cursor)
        predicted = self.locks.predicted(statement, entry) if probing else ()
        if probing:
            self.locks.note_unknown(statement)
        self._dead_space.stop_if_too_much(statement, predicted)
        if self._prober.look_before(savepoint, probing=probing):
            self._note_unseen("")
        empty = self._found_empty(statement, predicted)
        started = self._clock.now()
        entry.begin(started)
        return Care(entry, started, probing, predicted, plain, empty)

    def _found_empty(self, statement: Statement, predicted: Predicted) -> Collection[int]:
        """Ask between the reading before the statement and the statement itself."""
        found = found_empty(statement, predicted, self._catalog, self._session)
        if found is None:
            return ()
        self._prober.recount()  # the migration did not scan for that row: we did
        return found

    def read_after(
        self, statement: Statement, cursor: Any, care: Care, *, release: str = ""
    ) -> None:
        """Read what a statement did, and release its savepoint in the same round trip."""
        entry = care.entry
        if care.probing and self._prober.possible:
            measured = self._read_effects(release, statement, care.predicted)
            if care.plain:
                measured = replace(measured, locks=self.locks.known(care.predicted))
            if care.empty:
                emptied = tuple(oid for oid in measured.truncated if oid not in care.empty)
                measured = replace(measured, truncated=emptied)
            self._successors.ran(statement, measured)
            entry.effects.append(self._log.section.attributed(measured))
            self.locks.note_of_code(entry, measured)
            self.locks.note(measured, entry.shown, care.started)
        elif release:
            self._session.query(release)
        self.locks.note_rows(entry.changes | entry.row_locks, care.started)
        self._dead_space.ran(statement, cursor.rowcount, probed=care.probing)

    def refused(self, care: Care) -> None:
        """Note the locks of a statement that failed: it held them until then.

        No rollback takes back what it has counted, which is asked once the transaction is usable.
        """
        self.locks.note_foreseen(care.predicted, care.entry.shown, care.started)
        self._log.refused = care.entry
        self._prober.unread.add()

    def charge_refused(self) -> None:
        """Give what was read and written in vain to the statement that failed."""
        refused = self._log.refused
        if refused is not None and self._prober.possible:
            refused.effects.append(self._prober.look_after_rollback())
            self._log.refused = None

    def _is_probed(self, statement: Statement, entry: SectionEntry, cursor: Any) -> bool:
        """Return whether to probe after the statement; first settle what was not probed so far."""
        later = isinstance(cursor, psycopg.ServerCursor) or statement.what in _AT_BOUNDARY
        if statement.kind in (Kind.QUIET, Kind.SAVEPOINT) and not later:
            return False
        if statement.kind is Kind.SELECT and not (
            statement.reads_user_tables or statement.functions_called
        ):
            return False
        often = entry.executions >= _PROBED_RUNS.get(statement.kind, math.inf)
        if later or often or self._session.in_pipeline:
            self._prober.unread.add()
            entry.unread = True
            return False
        if not self._prober.possible:
            return False
        if self._prober.unread.runs:
            self._settle()
        return True

    def _read_effects(
        self, release: str = "", statement: Statement | None = None, predicted: Predicted = ()
    ) -> Effects:
        measured = self._prober.look_after(release, statement, predicted)
        self._dead_space.note(measured, self._prober.last)
        return measured
