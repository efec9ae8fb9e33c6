"""The guard that makes COMMIT impossible: a cursor WITH HOLD whose query fails.

At COMMIT, in whatever way it arrives, PostgreSQL runs the query of such a cursor to its end to keep
the rows; the error aborts the transaction. Unlike a table, a cursor is seen by no introspection, no
event trigger and no loop over the catalogs, needs no right, and leaves no dead rows in a catalog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
