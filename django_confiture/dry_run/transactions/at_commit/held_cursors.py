"""Cursors WITH HOLD: a COMMIT reads their rows to the end and keeps them, and their table is free.

In a transaction that stays open such a cursor would go on reading its table, which no ALTER TABLE
may then touch. So its remaining rows are copied into a temporary table, and a cursor of the same
name reads that one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from psycopg import sql

from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

NOT_KEPT = (
    "The rows of a cursor WITH HOLD could not be kept, as its COMMIT would, so here it goes on "
    "reading its table: --clone rehearses it exactly."
)

_OPEN = "SELECT name, is_binary, is_scrollable FROM pg_catalog.pg_cursors WHERE is_holdable"

# Row by row: a FETCH can't be the source of an INSERT.
_COPY = """
DECLARE
  held refcursor := {cursor};
  line {table}%ROWTYPE;
BEGIN
  LOOP
    FETCH held INTO line;
    EXIT WHEN NOT FOUND;
    INSERT INTO {table} SELECT line.*;
  END LOOP;
END
"""


class HeldCursors:
    """Keeps the rows of cursors WITH HOLD at a rehearsed COMMIT."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._declared: set[str] = set()
        self._tables: dict[str, str] = {}
        """The table that each cursor reads by now."""
        self._made = 0
        self._failed = False

    @property
    def kept(self) -> Collection[str]:
        """The cursors whose rows are kept."""
        return self._tables.keys()

    def not_kept(self) -> str:
        """Return why a cursor is not what it would be, if that has not been said; else ``""``."""
        failed, self._failed = self._failed, False
        return NOT_KEPT if failed else ""

    def note_statement(self, statement: Statement) -> None:
        """Note the cursor that a statement is about to declare."""
        if name := statement.held_cursor:
            self._declared.add(name)

    def ended(self, *, kept: bool) -> None:
        """Keep the rows of the cursors that the transaction has declared."""
        declared, self._declared = self._declared, set()
        if not (kept and declared):
            return
        cursors = {name: options for name, *options in self._session.query(_OPEN)}
        for name in self._tables.keys() - cursors.keys() | self._tables.keys() & declared:
            self._session.attempt(f"DROP TABLE IF EXISTS pg_temp.{self._tables.pop(name)}")
        for name in sorted(declared & cursors.keys()):
            binary, scrollable = cursors[name]
            options = "BINARY " if binary == "t" else ""
            options += "SCROLL" if scrollable == "t" else "NO SCROLL"
            self._failed |= not self._keep_rows(name, options)

    def _keep_rows(self, cursor: str, options: str) -> bool:
        """Return whether that has worked."""
        self._made += 1
        name, quoted = f"confiture_held_{self._made}", quote_identifier(cursor)
        columns = list(enumerate(self._session.columns_of_cursor(cursor)))
        made = ", ".join(f"c{number} {type_}" for number, (_title, type_) in columns)
        if not self._session.attempt(f"CREATE TEMPORARY TABLE {name} ({made})"):
            return False
        code = _COPY.format(cursor=_literal(cursor), table=f"pg_temp.{name}")
        if not self._session.attempt(f"DO LANGUAGE plpgsql {_literal(code)}"):
            return False
        read = ", ".join(
            f"c{number} AS {quote_identifier(title)}" for number, (title, _type) in columns
        )
        self._session.query(f"CLOSE {quoted}")
        self._session.query(
            f"DECLARE {quoted} {options} CURSOR WITH HOLD FOR SELECT {read} FROM pg_temp.{name}"
        )
        self._tables[cursor] = name
        return True


def _literal(text: str) -> str:
    return sql.Literal(text).as_string()
