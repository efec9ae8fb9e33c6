"""What all migrations of a dry run have in common, and real ones do not: time, number, locks.

Nothing can give them apart in one transaction. So a migration that reads what an earlier one has
read, or written by a default or a trigger, is noted as not exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.parser import Kind
from django_confiture.dry_run.sql.rows.stamps import makes_unique_index
from django_confiture.dry_run.sql.transactions.transaction_wide import (
    Shared,
    shared_in,
    shared_in_code,
)
from django_confiture.dry_run.transactions.at_commit.attached_code import AttachedCode
from django_confiture.dry_run.transactions.at_commit.database_code import callers, runs_any
from django_confiture.dry_run.transactions.at_commit.node_trees import (
    NUMBER,
    calls,
    reads_time,
)
from django_confiture.dry_run.transactions.at_commit.stamped_rows import StampedRows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement
    from django_confiture.dry_run.transactions.at_commit.database_code import DatabaseCode

_CLONE = "--clone rehearses it exactly."

_AGAIN = {
    Shared.TIME: (
        "now() is the same in all migrations of a dry run, and an earlier one has used it as well: "
        + _CLONE
    ),
    Shared.NUMBER: (
        "The number of the transaction and its snapshot are the same in all migrations of a dry "
        "run, and an earlier one has used them as well: " + _CLONE
    ),
}
"""Why a second migration that reads it is not exact."""

_AT_ONCE = {
    Shared.ROW_VERSION: (
        "Rows that a dry run writes have the number of a savepoint in xmin and xmax: " + _CLONE
    ),
    Shared.LOCKS: "pg_locks shows what the whole dry run holds: " + _CLONE,
    Shared.CHANNELS: "LISTEN begins at its COMMIT, which a dry run does not reach: " + _CLONE,
    Shared.SETTINGS: (
        "It reads a setting that the dry run has set for itself (its application_name, timeouts): "
        "for real the value is another."
    ),
    Shared.SESSIONS: "pg_stat_activity shows the dry run's own sessions, too.",
    Shared.OTHER_SESSION: (
        "It calls dblink, whose session does not see what this dry run has changed, and commits "
        "what it writes: the dry run can't hold that back."
    ),
}
"""Why the first that reads it is not exact."""

_MOST_TEXTS = 1000
_EVALUATING = ("alter_table_stmt", "create_table_as_stmt", "select_stmt")
"""DDL that computes values, for a new column or from a query."""
_BY_CODE = (Shared.SETTINGS, Shared.SESSIONS, Shared.OTHER_SESSION)
"""What is looked for in code that a statement runs without naming it."""
_MAKING_EVENTS = (Kind.DDL, Kind.OPAQUE)
_SENDING_NOTHING = (Kind.SAVEPOINT, Kind.TRANSACTION)

_DEFAULTS = f"""
    SELECT c.relname, d.reads_time, d.reads_number FROM (
      SELECT adrelid, {reads_time("adbin::text")} AS reads_time,
        {calls("adbin::text", NUMBER)} AS reads_number FROM pg_catalog.pg_attrdef
    ) d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid WHERE d.reads_time OR d.reads_number
"""


class SharedValues:
    """Notes which transaction has read what, and says where that makes a later one differ."""

    def __init__(self, session: Session, code: DatabaseCode) -> None:
        self._session = session
        self._code = code
        self._read: set[Shared] = set()
        self._written: set[str] = set()
        """The tables that the transaction has written to, or may have."""
        self._read_before: set[Shared] = set()
        self._written_before: set[str] = set()
        self._known: dict[str, tuple[frozenset[Shared], frozenset[str]]] = {}
        """What the texts of statements read, and the relations that they name."""
        self._functions: object = None
        """The functions that the following was made of."""
        self._readers: Mapping[Shared, set[str]] = {}
        self._by_code: Mapping[Shared, set[str]] = {}
        self._any_reader = False
        """Whether any function reads any of it: most databases have none."""
        self._stamped = StampedRows(session, self._stamping)
        self._stamping_tables: Mapping[str, set[str]] | None = None
        self._attached = AttachedCode(code)
        self._on_write: Mapping[Shared, set[str]] | None = None
        """The tables whose defaults or triggers read it; None: not asked for."""

    def note_shared(self, statement: Statement) -> str:
        """Note what a statement reads; return why that differs from the real run, ``""`` if not."""
        if statement.kind in _SENDING_NOTHING or not self._code.can_ask:
            return ""
        self._know_functions()
        mentioned, tables = self._found(statement)
        found = mentioned if _evaluates(statement) else frozenset()
        self._read |= found
        at_once = found | self._by_triggers(statement, tables)
        at_once |= self._attached.note_attached(
            statement, tables, self._by_code, mentions=bool(mentioned)
        )
        why = [text for key, text in _AT_ONCE.items() if key in at_once] if at_once else []
        if statement.kind is not Kind.DDL:
            again = {*found, *self._by_defaults(statement, tables)}
            why += [text for key, text in _AGAIN.items() if key in again and self._earlier(key)]
        why.append(self._stamped.note_stamped(statement, tables, mentions=bool(mentioned)))
        if statement.kind in (Kind.DML, Kind.OPAQUE):
            self._written |= tables
        if statement.kind is not Kind.DML and (mentioned or statement.what == "create_trig_stmt"):
            self._on_write = None  # it may have made a default or a trigger
        if statement.what == "create_trig_stmt":
            self._stamping_tables = None
        return " ".join(filter(None, why))

    def ended(self, *, kept: bool) -> None:
        """Count what comes now for another transaction."""
        if kept:
            self._read_before |= self._read
            self._written_before |= self._written
        self._read, self._written = set(), set()
        self._stamped.ended(kept=kept)

    def _found(self, statement: Statement) -> tuple[frozenset[Shared], frozenset[str]]:
        """Return what a statement and the functions that it calls read, and its relations.

        Of DDL, only a new unique index is asked for its table. The same text is looked at once: a
        migration may send it for each row.
        """
        if statement.sql not in self._known:
            if len(self._known) >= _MOST_TEXTS:
                self._known.clear()
            called = (
                key
                for key, names in self._readers.items()
                if self._any_reader and runs_any(statement, names, set())
            )
            asked = statement.kind is not Kind.DDL or makes_unique_index(statement)
            tables = frozenset(each.relname for each in (statement.relations if asked else ()))
            self._known[statement.sql] = frozenset({*shared_in(statement), *called}), tables
        return self._known[statement.sql]

    def _know_functions(self) -> None:
        functions = self._code.functions
        if self._functions is functions:
            return
        self._functions, self._on_write, self._stamping_tables = functions, None, None
        self._known.clear()
        self._attached.forget()
        reading = [(each.name, shared_in_code(each.code)) for each in functions]
        self._readers = {
            key: callers({name for name, found in reading if key in found}, functions)
            for key in Shared
        }
        self._by_code = {key: self._readers[key] for key in _BY_CODE}
        self._any_reader = any(self._readers.values())

    def _earlier(self, key: Shared) -> bool:
        """Return whether an earlier transaction has read it, or written it unasked."""
        if key in self._read_before:
            return True
        return bool(self._written_before) and not self._written_before.isdisjoint(
            self._tables_that_read(key)
        )

    def _by_defaults(self, statement: Statement, tables: frozenset[str]) -> set[Shared]:
        """Return what writing to these tables reads; times, which no one compares so, left out."""
        if statement.kind is not Kind.DML or not (self._read_before or self._written_before):
            return set()
        return {Shared.NUMBER} if tables & self._tables_that_read(Shared.NUMBER) else set()

    def _by_triggers(self, statement: Statement, tables: frozenset[str]) -> frozenset[Shared]:
        """Return what triggers of tables and events do that is not exact, whatever came before."""
        if not self._any_reader:
            return frozenset()
        if statement.kind in _MAKING_EVENTS:
            return frozenset(
                key for key in _AT_ONCE if self._code.is_run_by_events(self._readers[key])
            )
        if statement.kind is not Kind.DML:
            return frozenset()
        return frozenset(
            key
            for key in _BY_CODE
            if (readers := self._readers[key]) and tables & self._code.triggers_of(readers)
        )

    def _stamping(self) -> Mapping[str, set[str]]:
        """Return the tables with a trigger that reads the time → those that it may write it to."""
        if self._stamping_tables is None:
            self._stamping_tables = self._code.tables_named_by_triggers(self._readers[Shared.TIME])
        return self._stamping_tables

    def _tables_that_read(self, key: Shared) -> set[str]:
        if self._on_write is None:
            rows = self._session.query(_DEFAULTS)
            times = {table or "" for table, time, _number in rows if time == "t"}
            numbers = {table or "" for table, _time, number in rows if number == "t"}
            self._on_write = {
                Shared.TIME: times | self._code.triggers_of(self._readers[Shared.TIME]),
                Shared.NUMBER: numbers | self._code.triggers_of(self._readers[Shared.NUMBER]),
            }
        return self._on_write[key]


def _evaluates(statement: Statement) -> bool:
    """Return whether a statement computes what is written in it, rather than storing it."""
    return statement.kind is not Kind.DDL or statement.what in _EVALUATING
