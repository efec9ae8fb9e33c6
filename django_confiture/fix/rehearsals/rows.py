"""Reads the rows of tables as numbers and checksums, whatever the order of rows and columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from django_confiture.dry_run.server.side_channel import Session, array
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier

_TABLES = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND c.relpersistence <> 't'
  AND c.relname <> 'django_migrations'
  AND c.oid IN (SELECT relation FROM pg_catalog.pg_locks
                WHERE pid = pg_catalog.pg_backend_pid() AND mode <> 'AccessShareLock')
ORDER BY 1, 2
"""
_SUM = "count(*), sum(pg_catalog.hashtextextended({}, 0)::numeric)"
_OF_ROWS = "SELECT {sum} FROM (TABLE {table}) t"
_OF_COLUMNS = (
    "SELECT each.key, {sum} FROM (TABLE {table}) t,"
    " LATERAL pg_catalog.jsonb_each_text(to_jsonb(t)) each GROUP BY each.key"
)


@dataclass(frozen=True)
class RowsToRead:
    """Which rows are read at the end of a rehearsal."""

    tables: Collection[str] | None = None
    """Quoted; None for those that the rehearsal has locked to change them."""
    by_column: bool = False
    without: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Table → the columns that are left out."""


Rows = Mapping[tuple[str, str], str]
"""(table, column) → number and checksum of the values; the column is empty for whole rows."""


def read_rows(session: Session, wanted: RowsToRead) -> Rows:
    """Return the checksums; each table is read in full."""
    tables = wanted.tables
    if tables is None:
        tables = [
            f"{quote_identifier(schema or '')}.{quote_identifier(name or '')}"
            for schema, name in session.query(_TABLES)
        ]
    found: dict[tuple[str, str], str] = {}
    for table in tables:
        if wanted.by_column:
            found.update(_columns_with_types(session, table))
        else:
            left_out = wanted.without.get(table, ())
            row = "(to_jsonb(t) - $1::text[])::text"
            sql = _OF_ROWS.format(sum=_SUM.format(row), table=table)
            found[table, ""] = _hash_text(session.query(sql, [array(left_out)])[0])
    return found


def _columns_with_types(session: Session, table: str) -> Iterator[tuple[tuple[str, str], str]]:
    sql = _OF_COLUMNS.format(sum=_SUM.format("each.value"), table=table)
    for column, *values in session.query(sql):
        yield (table, column or ""), _hash_text(values)


def _hash_text(values: Collection[str | None]) -> str:
    return "/".join(map(str, values))
