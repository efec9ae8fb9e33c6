"""INVALID indexes whose names a statement wanted that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from django_confiture.migrate.invalid_indexes import INVALID_INDEXES, InvalidIndex

if TYPE_CHECKING:
    from django_confiture.dry_run.results import Failure
    from django_confiture.dry_run.server.side_channel import Session


def in_the_way(session: Session, error: Failure | None) -> tuple[InvalidIndex, ...]:
    """Return what a cut-off ``CONCURRENTLY`` has left under the name that was already taken."""
    if error is None or error.type != "DuplicateTable" or error.statement is None:
        return ()
    text = error.statement
    if session.status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
        return ()
    found = (
        InvalidIndex(schema or "", name or "", table or "", of or "", is_visible=visible == "t")
        for schema, name, table, of, visible in session.query(INVALID_INDEXES)
    )
    return tuple(each for each in found if each.is_left_by(text, reindex=False))
