"""A part of a transaction for reading, which leaves neither a lock nor a setting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Row, Session


class UndoneReading:
    """Queries that are undone in the round trip of the last one, or in one of their own."""

    def __init__(self, session: Session, end: str, *, alone: bool) -> None:
        """``alone`` says that it is a transaction, not a part of one."""
        self.alone = alone
        self._session = session
        self._end = end
        self._first: list[Row] = []
        self._ended = False

    def begin(self, text: str) -> None:
        """Run what begins it, and the first query, in one round trip."""
        self._first = self._session.query(text)

    @property
    def first(self) -> list[Row]:
        """The rows of the first query."""
        return self._first

    def last(self, queries: Iterable[str], then: str) -> tuple[list[list[Row]], list[Row]]:
        """Run queries, end, and run one more, in one round trip; return the rows of each."""
        texts = [*queries]
        answers = self._session.script(";".join([*texts, self._end, then]))
        self._ended = True
        return answers[: len(texts)], answers[-1]

    def end(self) -> None:
        """Undo it, unless that is done."""
        if not self._ended:
            self._session.query(self._end)
