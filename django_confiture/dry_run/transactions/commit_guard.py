"""The guard that makes COMMIT impossible: a cursor WITH HOLD whose query fails.

At COMMIT, in whatever way it arrives, PostgreSQL runs the query of such a cursor to its end to keep
the rows; the error aborts the transaction. Unlike a table, a cursor is seen by no introspection, no
event trigger and no loop over the catalogs, needs no right, and leaves no dead rows in a catalog.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.pq import TransactionStatus

from django_confiture.exceptions import DryRunRefused

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session

COMMIT_GUARD = "confiture_no_commit"

# The process is not a constant, or the query would fail when the cursor is declared.
_DECLARE = f"""
DECLARE {COMMIT_GUARD} NO SCROLL CURSOR WITH HOLD FOR
SELECT pg_catalog.format('a dry run is never committed (session %s)',
  pg_catalog.pg_backend_pid())::pg_catalog.int4
"""


def guard_against_commits(session: Session) -> None:
    """Make COMMIT impossible until the transaction, or the savepoint around it, is rolled back."""
    session.query(_DECLARE)


def check_commit_guard(session: Session) -> None:
    """Refuse to go on when the guard against commits was closed."""
    if session.status != TransactionStatus.INTRANS:
        return
    if not session.query(
        "SELECT FROM pg_catalog.pg_cursors WHERE name = $1 AND is_holdable", [COMMIT_GUARD]
    ):
        raise DryRunRefused(
            f"A migration closed the cursor {COMMIT_GUARD}, which guards against commits, "
            "so the dry run stopped; leave CLOSE ALL out, which a COMMIT makes needless."
        )


def open_cursors(session: Session) -> set[str]:
    """Return the names of the open cursors, without the guard."""
    rows = session.query(
        "SELECT name FROM pg_catalog.pg_cursors WHERE name NOT IN ('', $1)", [COMMIT_GUARD]
    )
    return {name or "" for (name,) in rows}


def close_cursors(session: Session, *, except_for: Collection[str]) -> None:
    """Close the cursors that a migration has left open, as its COMMIT would."""
    for name in open_cursors(session).difference(except_for):
        session.query(f"CLOSE {sql.Identifier(name).as_string()}")
