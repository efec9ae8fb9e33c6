"""The other effects of a COMMIT, such as constraint checks, in a transaction that stays open."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import psycopg

from django_confiture.dry_run.transactions.at_commit.database_code import DatabaseCode
from django_confiture.dry_run.transactions.at_commit.enum_values import EnumValues
from django_confiture.dry_run.transactions.at_commit.held_cursors import HeldCursors
from django_confiture.dry_run.transactions.at_commit.local_settings import LocalSettings
from django_confiture.dry_run.transactions.at_commit.shared_values import SharedValues
from django_confiture.dry_run.transactions.at_commit.temporary_tables import TemporaryTables
from django_confiture.hooks.deferred_sql import (
    CHECK_CONSTRAINTS,
    DEFER_CONSTRAINTS,
    IMMEDIATE_CONSTRAINTS,
    make_immediate,
)

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.stopwatch import Stopwatch
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

_SAVEPOINT = "confiture_check"

# statement_timestamp() is when the server got the whole text, so the first column is the time of
# what stands before the SELECT.
_CHECK_DEFERRED = f"""\
SAVEPOINT {_SAVEPOINT}; {CHECK_CONSTRAINTS}; RELEASE SAVEPOINT {_SAVEPOINT}; {DEFER_CONSTRAINTS};
{{then}}
SELECT extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000,
  ({IMMEDIATE_CONSTRAINTS})
"""


class SimulatedCommit:
    """Checks what COMMIT checks, and does what it does to settings, types and tables."""

    def __init__(self, session: Session, clock: Stopwatch) -> None:
        self._session = session
        self._clock = clock
        self._code = DatabaseCode(session)
        self._settings = LocalSettings(session, self._code)
        self._values = SharedValues(session, self._code)
        self._cursors = HeldCursors(session)
        self._temporary = TemporaryTables(session, self._code)
        self._noting = (self._cursors, EnumValues(session), self._temporary)

    def foresee(self, statement: Statement, text: Callable[[], str]) -> str:
        """Note what the COMMIT of a statement has to do; return why some of it can't be seen.

        ``text`` returns the statement with its parameters in it.
        """
        for each in self._noting:
            each.note_statement(statement)
        unseen = (
            self._settings.note_settings(statement, text),
            self._values.note_shared(statement),
            self._cursors.not_kept(),
            self._temporary.unclear(),
        )
        self._code.about_to_run(statement)
        return " ".join(filter(None, unseen))

    @property
    def held_cursors(self) -> Collection[str]:
        """The cursors that outlive their transaction."""
        return self._cursors.kept

    @property
    def left_settings(self) -> bool:
        """Whether a setting was set that lasts as long as the session."""
        return self._settings.any_for_session

    def settings_changed(self) -> None:
        """Count the settings as committed: the dry run itself has changed them."""
        self._settings.changed_outside()

    def check_constraints(self, failed: Callable[[psycopg.Error], None], then: str = "") -> float:
        """Check deferred constraints, and return the milliseconds that this took.

        ``then`` is SQL to run in the same round trip if they hold.
        ``failed`` is called while the transaction is usable; then it is put into the failed state,
        and the server's error is raised. See ``hooks.deferred_sql``. Which constraints are to be
        put back is looked up in the same round trip, and that is not in the time.
        """
        try:
            with self._clock.stopped():
                checked_ms, names = self._session.query(_CHECK_DEFERRED.format(then=then))[0]
                self._clock.add(float(checked_ms or 0) / 1000)
                if names:
                    self._session.query(make_immediate(names))
        except psycopg.Error as error:
            self._session.query(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            failed(error)
            self._session.abort()
            raise
        return float(checked_ms or 0)

    def ended(self, *, kept: bool) -> None:
        """Do what the end of the transaction would do, beyond what a savepoint's does."""
        with self._clock.stopped():
            for each in (*self._noting, self._settings, self._values):
                each.ended(kept=kept)
