"""``DETACH PARTITION … CONCURRENTLY``, which works in two transactions: what a cut-off one left."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from django_confiture.sql_text import QUALIFIED_NAME

if TYPE_CHECKING:
    import psycopg

_STATEMENT = re.compile(
    rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(?P<table>{QUALIFIED_NAME})\s*\*?\s+"
    rf"DETACH\s+PARTITION\s+(?P<partition>{QUALIFIED_NAME})\s+CONCURRENTLY\s*;?\s*",
    re.IGNORECASE,
)
_STATE = """
SELECT pg_catalog.to_regclass(%(partition)s) IS NOT NULL, (SELECT inhdetachpending
  FROM pg_catalog.pg_inherits WHERE inhparent = pg_catalog.to_regclass(%(table)s)
  AND inhrelid = pg_catalog.to_regclass(%(partition)s))
"""


class State(Enum):
    """How far a partition is from being a table of its own."""

    ATTACHED = "attached"
    PENDING = "pending"
    """The first transaction was committed: no query of the table reads the partition any more."""
    DETACHED = "detached"
    GONE = "gone"
    """There is no such table, so nothing is known."""


@dataclass(frozen=True)
class Detach:
    """A ``DETACH PARTITION … CONCURRENTLY``; the names are those of its text, with quotes."""

    table: str
    partition: str

    @property
    def finalize(self) -> str:
        """The statement that completes one that was cut off."""
        return f"ALTER TABLE {self.table} DETACH PARTITION {self.partition} FINALIZE"

    def state(self, raw: psycopg.Connection[Any]) -> State:
        """Return what the catalog says of the partition."""
        names = {"table": self.table, "partition": self.partition}
        row = raw.execute(_STATE, names).fetchone()
        is_there, is_pending = row if row is not None else (False, None)
        if not is_there:
            return State.GONE
        if is_pending is None:
            return State.DETACHED
        return State.PENDING if is_pending else State.ATTACHED


def detach_in(sql: str) -> Detach | None:
    """Return what a statement, without leading comments, detaches CONCURRENTLY; None if it is
    another one."""
    match = _STATEMENT.fullmatch(sql)
    return Detach(match["table"], match["partition"]) if match else None
