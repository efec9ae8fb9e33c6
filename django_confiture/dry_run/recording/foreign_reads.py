"""Reads of foreign tables that a dry run can't show: of this very database, and of programs.

For real, an earlier migration of the plan has committed what it did, and the session that the
foreign server opens sees it. In a dry run it doesn't, and a clone's leads back to the original.
What a program does that file_fdw runs for each read is not rolled back.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from django_confiture.dry_run.locks.user_code import may_touch
from django_confiture.dry_run.sql.parsing.parser import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_confiture.dry_run.recording.instruments import Instruments
    from django_confiture.dry_run.sql.parsing.parser import Statement

_MISSED = (
    "{} is read through a foreign server. If that leads to this database, it does not see what "
    "earlier migrations of this dry run have changed. {}"
)
_RAN = "Reading {} runs a program on the server: what that does is neither seen nor rolled back."
_ADVICE = {
    "dry run": "Read the tables themselves, or apply those migrations first.",
    "clone": "It reads the original, not the clone: rehearse it without --clone, or apply the "
    "earlier migrations first.",
}

# Foreign tables, what inherits to a parent, and the views above them. file_fdw reads no database.
_READING = """
    WITH RECURSIVE reading(oid, runs_program) AS (
      SELECT t.ftrelid, w.fdwname = 'file_fdw' FROM pg_catalog.pg_foreign_table t
      JOIN pg_catalog.pg_foreign_server s ON s.oid = t.ftserver
      JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
      WHERE CASE WHEN w.fdwname = 'file_fdw'
        THEN EXISTS (SELECT FROM unnest(t.ftoptions) option WHERE option LIKE 'program=%')
        ELSE $1 = 'clone' OR NOT EXISTS (
          SELECT FROM unnest(s.srvoptions) option WHERE option LIKE 'dbname=%'
            AND option <> 'dbname=' || pg_catalog.current_database()) END
    UNION
      SELECT above.oid, reading.runs_program FROM reading CROSS JOIN LATERAL (
        SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = reading.oid
        UNION ALL
        SELECT r.ev_class FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = reading.oid
      ) above(oid)
    )
    SELECT c.relname, c.relkind, reading.runs_program
    FROM reading JOIN pg_catalog.pg_class c ON c.oid = reading.oid
"""

_TRIGGERS = """
    SELECT FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    WHERE NOT t.tgisinternal AND c.relname IN (SELECT json_array_elements_text($1::json))
      AND p.prosrc ~ $2
"""

_MAKING = frozenset({"create_foreign_table_stmt", "import_foreign_schema_stmt"})
_CONNECTING = _MAKING | {
    "create_extension_stmt",
    "create_foreign_server_stmt",
    "create_fdw_stmt",
    "create_user_mapping_stmt",
    "grant_stmt",
}
"""What changes nothing that the other session could miss."""
_EVALUATING = ("create_table_as_stmt", "select_stmt")
"""DDL that reads what it names."""
_ABOVE = {"view_stmt", "create_table_as_stmt", "rename_stmt", "alter_table_stmt"}
_CHANGING = (Kind.DML, Kind.DDL, Kind.OPAQUE, Kind.UNPARSED)
_RECORD = {"django_migrations"}


class ForeignReads:
    """Notes whether earlier transactions have changed something, and who reads from elsewhere."""

    def __init__(self, instruments: Instruments, *, on_clone: bool = False) -> None:
        self._session = instruments.session
        self._place = "clone" if on_clone else "dry run"
        self._any = any(each.kind == "f" for each in instruments.catalog.relations.values())
        self._known: dict[bool, dict[str, str]] | None = None
        """Whether it runs a program → name → kind of relations; None: not asked for."""
        self.changed_before = False
        """Whether transactions that have ended changed anything."""
        self._changed = False

    def ran(self, statement: Statement) -> str:
        """Return why a statement, which has run, is not exact; ``""`` if it is. Note its change."""
        why = []
        if self._any and self._can_ask and statement.what not in _CONNECTING:
            if self.changed_before and (names := self._read_through(statement, runs_program=False)):
                why.append(_MISSED.format(", ".join(names), _ADVICE[self._place]))
            if names := self._read_through(statement, runs_program=True):
                why.append(_RAN.format(", ".join(names)))
        self._note(statement)
        return " ".join(why)

    def ended(self, *, kept: bool) -> None:
        """Count what comes now for another transaction."""
        self.changed_before |= kept and self._changed
        self._changed = False

    @property
    def _can_ask(self) -> bool:
        usable = self._session.status in (TransactionStatus.INTRANS, TransactionStatus.IDLE)
        return usable and not self._session.in_pipeline

    def _note(self, statement: Statement) -> None:
        if statement.what in _MAKING:
            self._any = True
        if statement.what in _MAKING or statement.what in _ABOVE:
            self._known = None
        if self._changed or statement.kind not in _CHANGING or statement.what in _CONNECTING:
            return
        self._changed = {each.relname for each in statement.relations} != _RECORD

    def _read_through(self, statement: Statement, *, runs_program: bool) -> list[str]:
        """Return the relations through which the statement reads, or code that it runs may."""
        if self._known is None:
            self._known = {True: {}, False: {}}
            for name, kind, runs in self._session.query(_READING, [self._place]):
                self._known[runs == "t"][name or ""] = kind or ""
        known = self._known[runs_program]
        if not known:
            return []
        named = {each.relname for each in statement.relations}
        if statement.kind is Kind.OPAQUE and may_touch(statement, known, self._session):
            return sorted(known)
        if statement.kind is Kind.DML and self._triggers_name(known, named):
            return sorted(known)
        if statement.what == "refresh_mat_view_stmt":
            return sorted(named & known.keys())
        if statement.kind is Kind.DDL and statement.what not in _EVALUATING:
            return []
        return sorted(name for name in named if known.get(name, "m") != "m")

    def _triggers_name(self, known: Iterable[str], tables: set[str]) -> bool:
        """Return whether code of the tables' triggers names what reads elsewhere."""
        words = "|".join(map(re.escape, known))
        rows = self._session.query(_TRIGGERS, [json.dumps(sorted(tables)), rf"\m({words})\M"])
        return bool(rows)
