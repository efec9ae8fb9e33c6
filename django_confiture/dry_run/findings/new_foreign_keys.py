"""The foreign keys that a plan has made, and which of them no index supports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from django_confiture.dry_run.findings.rules.running_code import unindexed
from django_confiture.dry_run.findings.subject import JudgedStatement
from django_confiture.dry_run.server.side_channel import array
from django_confiture.dry_run.sql.parsing.parser import Kind

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Row, Session

_Key = tuple[str, str, str]
"""A foreign key: its table, its name, its columns."""

# Mostly there is none, so what it is called is another question, which takes longer to plan.
_UNINDEXED = """
SELECT k.oid FROM pg_catalog.pg_constraint k
WHERE k.contype = 'f' AND k.oid > $1 AND k.conparentid = 0
  AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_index i
    WHERE i.indrelid = k.conrelid AND i.indpred IS NULL
      AND (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] @> k.conkey
  )
"""

# Before PostgreSQL 18 there is no conenforced.
_NAMES = """
SELECT k.oid, c.relname, k.conname, string_agg(a.attname, ', ' ORDER BY a.attnum)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
WHERE k.oid = ANY ($1) AND to_jsonb(k) ->> 'conenforced' IS DISTINCT FROM 'false'
GROUP BY k.oid, c.relname, k.conname
ORDER BY c.relname, k.conname
"""


class NewForeignKeys:
    """Those that were not there when the dry run began."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.newest_before = session.value("SELECT max(oid) FROM pg_catalog.pg_constraint")
        """The OID of the newest constraint before the plan."""
        self.indexed_since: set[tuple[str | None, str]] = set()
        """The relation and the evidence of what no longer holds."""
        self._unindexed: dict[str, _Key] = {}
        """OID → each one without an index, as of the last migration."""

    def unindexed(self, steps: Iterable[JudgedStatement], *, forward: bool) -> Iterator[_Key]:
        """Yield those without an index that the last migration has made."""
        changes = {Kind.DDL, Kind.OPAQUE, Kind.UNPARSED, Kind.UNSEEN}
        if self._session.status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
            return
        if not any(step.statement.kind in changes for step in steps):
            return
        found = self._session.query(_UNINDEXED, [self.newest_before])
        if found:
            found = self._session.query(_NAMES, [array(oid for (oid,) in found)])
        now = {oid: (table, name, columns) for oid, table, name, columns in map(_texts, found)}
        before, self._unindexed = self._unindexed, now
        if forward:  # one that the undoing dropped was not indexed
            self.indexed_since |= {
                (table, unindexed(name, columns))
                for oid, (table, name, columns) in before.items()
                if oid not in now
            }
        yield from (key for oid, key in now.items() if oid not in before)


def _texts(row: Row) -> list[str]:
    return [value or "" for value in row]
