"""Long questions to the catalogs, asked after each migration: the server plans them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.errors import InvalidSqlStatementName

from django_confiture.dry_run.server.side_channel import Row, Session
from django_confiture.dry_run.sql.parsing.identifiers import quote_literal


@dataclass(frozen=True)
class Question:
    """A query with parameters."""

    name: str
    types: str
    """The types of its parameters, as ``PREPARE`` wants them."""
    sql: str


class PreparedQuestions:
    """Asks questions, each by a statement that is prepared when it is first asked.

    The session's state forgets what was prepared when the dry run ends.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._prepared: set[str] | None = None

    def rows(self, question: Question, *values: str | int) -> list[Row]:
        """Return the answer."""
        if question.name in self._known():
            try:
                return self._execute(question, values)
            except InvalidSqlStatementName:  # a migration or the driver has sent DEALLOCATE ALL
                self._prepared = set()
        self._session.query(f"PREPARE {question.name} ({question.types}) AS {question.sql}")
        self._known().add(question.name)
        return self._execute(question, values)

    def _known(self) -> set[str]:
        if self._prepared is None:
            rows = self._session.query("SELECT name FROM pg_catalog.pg_prepared_statements")
            self._prepared = {str(name) for (name,) in rows}
        return self._prepared

    def _execute(self, question: Question, values: Sequence[str | int]) -> list[Row]:
        given = ", ".join(quote_literal(str(each)) for each in values)
        # A plan for the values alone takes as long to make as to run.
        _setting, rows = self._session.script_undone(
            f"SET LOCAL plan_cache_mode = force_generic_plan; EXECUTE {question.name} ({given})"
        )
        return rows
