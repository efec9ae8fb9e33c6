"""Temporary tables that COMMIT drops or empties, as the end of a savepoint does not.

No catalog has what ``ON COMMIT`` said. So it is read in statements, and, where code has made a
table, in that code; a table of which neither says it is named as one that may be gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.enums import OnCommitAction
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.parser import Kind
from django_confiture.dry_run.sql.transactions.temporary_tables import (
    made_by_code,
    says_on_commit,
    says_temporary,
    temporary_tables,
)

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement
    from django_confiture.dry_run.transactions.at_commit.database_code import DatabaseCode

_COMMANDS: Mapping[int, str] = {
    OnCommitAction.DROP: "DROP TABLE IF EXISTS pg_temp.{} CASCADE",
    OnCommitAction.DELETE_ROWS: "TRUNCATE pg_temp.{}",
}

_THERE = """
    SELECT relname FROM pg_catalog.pg_class
    WHERE relnamespace = pg_my_temp_schema() AND relkind IN ('r', 'p')
      AND relname NOT LIKE 'confiture\\_%'
"""

_RUNNING_CODE = (Kind.DML, Kind.OPAQUE, Kind.UNPARSED, Kind.UNSEEN)


class TemporaryTables:
    """Does at a rehearsed COMMIT what ``ON COMMIT`` says."""

    def __init__(self, session: Session, code: DatabaseCode) -> None:
        self._session = session
        self._code = code
        self._made: dict[str, int] = {}
        """What is to be done, by table."""
        self._known: set[str] = set()
        """The tables of which it is known what a COMMIT does."""
        self._texts: set[str] = set()
        """What has run in the transaction and speaks of temporary tables."""
        self._ran_code = False
        self._unclear: list[str] = []

    def unclear(self) -> str:
        """Return which tables a COMMIT may have dropped, if that has not been said; else ``""``."""
        names, self._unclear = self._unclear, []
        if not names:
            return ""
        return (
            f"Code has made the temporary table {', '.join(names)}, and does not show what ON "
            "COMMIT does to it: here it is as it was. --clone rehearses it exactly."
        )

    def note_statement(self, statement: Statement) -> None:
        """Note the table that a statement is about to make, or the code that may make one."""
        for table, on_commit in temporary_tables(statement):
            self._known.add(table)
            self._made.pop(table, None)
            if on_commit in _COMMANDS:
                self._made[table] = on_commit
        if statement.kind in _RUNNING_CODE:
            self._ran_code = True
            if says_temporary(statement.sql):
                self._texts.add(statement.sql)

    def ended(self, *, kept: bool) -> None:
        """Drop or empty what was made, if a COMMIT would do that now."""
        if kept:
            self._made.update(self._made_by_code())
        made, self._made = self._made, {}
        self._texts, self._ran_code = set(), False
        if not kept:
            return
        for table, on_commit in made.items():
            self._session.attempt(_COMMANDS[on_commit].format(quote_identifier(table)))
            if on_commit == OnCommitAction.DELETE_ROWS:
                self._made[table] = on_commit  # at each COMMIT
            else:
                self._known.discard(table)

    def _made_by_code(self) -> Iterator[tuple[str, int]]:
        """Yield what code has made in the transaction that a COMMIT drops or empties."""
        if not self._ran_code or not self._code.can_ask:
            return
        functions = [each.code for each in self._code.functions if says_temporary(each.code)]
        texts = [*functions, *self._texts]
        if not any(map(says_on_commit, texts)):
            return
        there = {name or "" for (name,) in self._session.query(_THERE)}
        new = there - self._known
        said = made_by_code(texts) if new else {}
        for table in sorted(new):
            if table not in said:
                self._unclear.append(table)
            elif said[table] in _COMMANDS:
                yield table, said[table]
        self._known |= there
