"""What is set, checked and closed where one migration ends and the next begins.

One round trip reads the open cursors and sets the timeouts for the next migration, so that it
begins without one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.transactions.commit_guard import COMMIT_GUARD
from django_confiture.exceptions import DryRunRefused

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.transactions.simulated_commit import SimulatedCommit

_CURSORS = """
SELECT pg_catalog.json_object_agg(name, is_holdable) FROM pg_catalog.pg_cursors WHERE name <> ''
"""


class MigrationEnds:
    """Timeouts, open cursors, and the guard against commits, between two migrations."""

    def __init__(
        self, session: Session, settings: Mapping[str, str], simulated_commit: SimulatedCommit
    ) -> None:
        self._session = session
        self._settings = settings
        self._simulated_commit = simulated_commit
        self._settings_hold = False
        self._cursors: Mapping[str, bool] | None = None
        """Those that the migration has left open; None: not read since it ran."""
        self._cursors_of_caller: Collection[str] = ()
        """Open before the dry run, in a transaction that it was begun in."""

    def start(self) -> None:
        """Set the timeouts for the first time, and note the cursors that are to stay open."""
        self._cursors_of_caller = set(self._open_cursors())
        self._cursors = None

    def assert_settings(self) -> None:
        """Set the timeouts again: a migration may have set its own for the session."""
        if not self._settings_hold:
            self._open_cursors()
        self._settings_hold = False
        self._cursors = None

    def check_commit_guard(self) -> None:
        """Refuse to go on when the guard against commits was closed."""
        if self._session.status != TransactionStatus.INTRANS:
            return
        if not self._open_cursors().get(COMMIT_GUARD):
            raise DryRunRefused(
                f"A migration closed the cursor {COMMIT_GUARD}, which guards against commits, "
                "so the dry run stopped; leave CLOSE ALL out, which a COMMIT makes needless."
            )
        self._settings_hold = True

    def close_cursors(self) -> None:
        """Close the cursors that a migration has left open, as its COMMIT would."""
        cursors = self._open_cursors() if self._cursors is None else self._cursors
        held = self._simulated_commit.held_cursors
        kept = {COMMIT_GUARD, *self._cursors_of_caller, *held}
        for name in cursors.keys() - kept:
            self._session.query(f"CLOSE {sql.Identifier(name).as_string()}")
        self._cursors = None

    def _open_cursors(self) -> Mapping[str, bool]:
        """Return the open cursors, each with whether it outlives a COMMIT; set the timeouts."""
        calls = (
            f", set_config(${2 * i + 1}, ${2 * i + 2}, true)" for i in range(len(self._settings))
        )
        pairs = [each for setting in self._settings.items() for each in setting]
        found = self._session.value(f"SELECT ({_CURSORS}){''.join(calls)}", pairs)
        self._simulated_commit.settings_changed()
        self._cursors = json.loads(found or "{}")
        return self._cursors
