"""UPDATEs and DELETEs whose answers do not matter: sent together, in the order they came."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django_confiture.dry_run.running_code.sending.slow_statements import SlowStatements
from django_confiture.dry_run.server.side_channel import Session

_WRITES = ("UPDATE", "DELETE")


class UnsentWrites:
    """Keeps what the ORM writes until something else is sent."""

    def __init__(self, session: Session, slow: SlowStatements) -> None:
        self._session = session
        self._slow = slow
        self._gathers = self._each_finds = False
        self._texts: list[str] = []

    @contextmanager
    def gathered(self, *, each_finds: bool) -> Iterator[None]:
        """Keep writes in the block; the ORM is told that each wrote one row.

        ``each_finds`` says that it matters whether one found a row.
        """
        self._gathers, self._each_finds = True, each_finds
        try:
            yield
        finally:
            self._gathers = False
            self._texts.clear()

    def takes(self, sql: str) -> bool:
        """Return whether a statement can be kept."""
        return self._gathers and sql.startswith(_WRITES) and " RETURNING " not in sql

    def keep(self, text: str, cursor: Any) -> None:
        """Keep a statement of the ORM, which asks its cursor how many rows it wrote."""
        cursor.rowcount = 1
        self._texts.append(text)

    def send(self, *others: str) -> None:
        """Send what is kept, and others with it; raises where one of those found no row."""
        kept = list(self._texts)
        self._texts.clear()
        if not (kept or others):
            return
        with self._slow.watching(*kept):
            counts = self._session.counts("; ".join([*kept, *others]))
        if self._each_finds and not all(counts[: len(kept)]):
            raise NotFoundError


class NotFoundError(Exception):
    """A write has found no row."""
