"""What makes COMMIT impossible: two temporary tables that PostgreSQL refuses to commit.

ON COMMIT DELETE ROWS empties a table that another one, which keeps its rows, references: the
server reports an error at every COMMIT, in whatever way it arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.exceptions import DryRunRefused

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session

PILL = "confiture_no_commit"


def poison(session: Session) -> None:
    """Make COMMIT impossible."""
    try:
        session.query(
            f"CREATE TEMPORARY TABLE {PILL}_a (id integer PRIMARY KEY) ON COMMIT DELETE ROWS"
        )
        session.query(
            f"CREATE TEMPORARY TABLE {PILL}_b (a integer REFERENCES {PILL}_a)"
            " ON COMMIT PRESERVE ROWS"
        )
    except psycopg.errors.InsufficientPrivilege as error:
        raise DryRunRefused(
            "The role lacks the TEMPORARY right on this database, which the guard against "
            "commits needs; GRANT TEMPORARY ON DATABASE ... TO the role that migrates."
        ) from error


def check_poisoned(session: Session) -> None:
    """Refuse to go on when the guard against commits was dropped."""
    if session.status != TransactionStatus.INTRANS:
        return
    if session.value(f"SELECT to_regclass('pg_temp.{PILL}_b') IS NOT NULL") != "t":
        raise DryRunRefused(
            "A migration dropped the temporary tables that guard against commits, "
            "so the dry run stopped."
        )
