"""Locks that statements take: foreseen by rules, noted in the timeline and the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules import Lookup, statement_locks
from django_confiture.dry_run.locks.rules.rows import Write, foreign_key_locks
from django_confiture.dry_run.locks.user_code import may_touch
from django_confiture.dry_run.measuring.effects import Effects
from django_confiture.dry_run.recording.instruments import Instruments
from django_confiture.dry_run.recording.sections import ROW_LOCKS_MODE, SectionEntry
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement

Predicted = Sequence[tuple[int, str]]
"""(OID, mode) of each lock that a statement takes by PostgreSQL's rules."""

_FOREIGN = (
    "{} is a foreign table. What was locked and written on its server is not in this report; it is "
    "rolled back there."
)
_OF_ROWS = (ROW_LOCKS_MODE, LockMode.RowExclusiveLock.name)


class LockNotes:
    """Notes the locks of one connection's statements."""

    def __init__(self, instruments: Instruments) -> None:
        self._session = instruments.session
        self._catalog = instruments.catalog
        self._log = instruments.log
        self._prober = instruments.prober
        self._timeline = instruments.timeline

    def predict(self, statement: Statement) -> Predicted:
        """Return the locks that a statement takes by PostgreSQL's rules."""
        return self._predict(statement, Lookup(self._session.query))

    def _predict(self, statement: Statement, lookup: Lookup) -> Predicted:
        return [(lock.oid, lock.mode.name) for lock in statement_locks(statement.node, lookup)]

    def predicted(self, statement: Statement, entry: SectionEntry) -> Predicted:
        """Return the same, of a statement whose locks are worth it: the first run of its text."""
        if not self._catalog.relations:
            return ()
        first = not entry.executions
        if statement.kind is Kind.DDL:
            lookup = Lookup(self._session.query)
            locks = self._predict(statement, lookup)
            entry.columns_gone = lookup.columns_gone
            return locks
        if first and statement.kind is Kind.DML:
            return self.predict(statement)
        if first and statement.locks_rows:
            return self.predict(statement)
        return ()

    def note_unknown(self, statement: Statement) -> None:
        """Say where code may take locks that are held already: no view shows those.

        What may take them, by its source, is not exact; about the rest there is a warning.
        """
        if statement.kind is not Kind.OPAQUE:
            return
        held = [
            self._catalog.relations[oid]
            for oid, seen in self._prober.last.relations.items()
            if any(LockMode[mode].blocks_writes for mode in seen.modes)
        ]
        if not held:
            return
        text = (
            f"{statement.command} runs code that the parser can't see. What it locks of "
            f"{', '.join(sorted(each.shown for each in held))} is not known: the dry run holds "
            "those already."
        )
        if may_touch(statement, {each.name for each in held}, self._session):
            self._log.note_not_rehearsed(text)
        else:
            self._log.note_warning(text)

    def known(self, predicted: Predicted) -> tuple[tuple[int, str, bool], ...]:
        """Return what it takes by PostgreSQL's rules, of the relations of the snapshot."""
        known = self._catalog.relations
        return tuple((oid, mode, False) for oid, mode in predicted if oid in known)

    def note_of_code(self, entry: SectionEntry, measured: Effects) -> None:
        """Note the tables of which code has locked rows beside what was written.

        Where no foreign key of what was written explains a lock, a function or a trigger took it.
        """
        written = {oid for oid, _rows in measured.writes}
        locked = {oid for oid, mode, _inherited in measured.locks if mode == ROW_LOCKS_MODE}
        left = locked - written
        if not left or not written or entry.statement.kind is Kind.DDL:
            return
        lookup = Lookup(self._session.query)
        for table in written:
            for kind in ("insert", "update", "delete"):
                left -= {lock.oid for lock in foreign_key_locks(table, Write(kind), lookup)}
        entry.code_locks |= left

    def note_foreseen(self, predicted: Predicted, sql: str, started: float) -> None:
        """Note the locks that a statement which failed held until then."""
        for oid, mode, _inherited in self.known(predicted):
            self._timeline.take(oid, mode, started, sql)

    def note(self, measured: Effects, sql: str, started: float) -> None:
        """Note which locks a statement was seen to take, from when it began."""
        for oid, mode, _inherited in measured.locks:
            self._timeline.take(oid, mode, started, sql)
            relation = self._catalog.relations[oid]
            if relation.kind == "f" and mode in _OF_ROWS:
                self._log.note_not_rehearsed(_FOREIGN.format(relation.shown))

    def note_rows(self, oids: Iterable[int], started: float) -> None:
        """Note of which tables a statement has locked or changed rows."""
        for oid in oids:
            self._timeline.change_rows(oid, started)
