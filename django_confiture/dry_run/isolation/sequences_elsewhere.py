"""Sequences of other databases that moved while connections to them were held."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.nontransactional import (
    Positions,
    sequence_positions,
    sequences_moved,
)
from django_confiture.dry_run.results import SequenceMove
from django_confiture.dry_run.server.identity import database_identity
from django_confiture.dry_run.server.side_channel import Session


class SequencesElsewhere:
    """Notes each sequence once, however many connections to its database there are."""

    def __init__(self) -> None:
        self._moved: dict[tuple[str, str], SequenceMove] = {}

    @property
    def moved(self) -> tuple[SequenceMove, ...]:
        """Which have moved so far."""
        return tuple(self._moved.values())

    @contextmanager
    def watched(self, session: Session) -> Iterator[None]:
        """Note at the end which sequences of the session's database have moved inside."""
        before = sequence_positions(session)
        try:
            yield
        finally:
            self._note(session, before)

    def _note(self, session: Session, before: Positions) -> None:
        if session.status not in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
            return  # the connection is lost
        name = session.value("SELECT current_database()")
        for move in sequences_moved(name, before, sequence_positions(session)):
            self._moved.setdefault((database_identity(session), move.sequence), move)
