"""Temporary tables that COMMIT drops or empties, as the end of a savepoint does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.enums import OnCommitAction
from django_confiture.dry_run.sql.identifiers import quote_identifier
from django_confiture.dry_run.sql.nodes import Node

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parser import Statement

_COMMANDS: Mapping[int, str] = {
    OnCommitAction.DROP: "DROP TABLE IF EXISTS pg_temp.{} CASCADE",
    OnCommitAction.DELETE_ROWS: "TRUNCATE pg_temp.{}",
}


class TemporaryTables:
    """Does at a rehearsed COMMIT what ``ON COMMIT`` says."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._made: dict[str, int] = {}
        """What is to be done, by table."""

    def before(self, statement: Statement) -> None:
        """Note the table that a statement is about to make."""
        if statement.what == "create_stmt":
            made: Node = statement.node.create_stmt
            self._note(made.relation, made.oncommit)
        elif statement.what == "create_table_as_stmt":
            into: Node = statement.node.create_table_as_stmt.into
            self._note(into.rel, into.on_commit)

    def _note(self, table: Node, on_commit: int) -> None:
        if on_commit in _COMMANDS:
            self._made[table.relname] = on_commit

    def ended(self, *, kept: bool) -> None:
        """Drop or empty what was made, if a COMMIT would do that now."""
        made, self._made = self._made, {}
        if not kept:
            return
        for table, on_commit in made.items():
            self._session.attempt(_COMMANDS[on_commit].format(quote_identifier(table)))
            if on_commit == OnCommitAction.DELETE_ROWS:
                self._made[table] = on_commit  # at each COMMIT
