"""Whether the server still counts scans and rows: a migration may switch that off for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg

from django_confiture.dry_run.sql.parsing.suspects import Suspects

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

_SWITCHES_OFF = Suspects(
    r"\btrack_counts\b[\s'\"]*(?:=|,|\bTO\b)\s*'?(?:off?|f\w*|no?|0)\b", "track_counts"
)
"""``SET`` and ``set_config``, told by their words: in the code of a DO block, too."""

NOT_COUNTED = (
    "track_counts was switched off: from there on PostgreSQL counts neither scans nor rows, and a "
    "statement that reads or writes all of a table looks as if it did nothing."
)


class Counting:
    """Says which statements the server does not count."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._was_switched_off = False

    def why_not_counted(self, statement: Statement, text: Callable[[], str]) -> str:
        """Return why a statement can't be measured; ``""`` where it is counted.

        ``text`` returns the statement with its parameters in it.
        """
        words = text() if "set_config" in statement.sql.lower() else statement.sql
        if _SWITCHES_OFF.search(words):
            self._was_switched_off = True
            return NOT_COUNTED
        if not self._was_switched_off:
            return ""
        try:
            self._was_switched_off = self._session.value("SHOW track_counts") == "off"
        except psycopg.Error:  # in a transaction that has failed nothing is done, nor counted
            return ""
        return NOT_COUNTED if self._was_switched_off else ""
