"""Indexes that a cut-off ``CONCURRENTLY`` has left INVALID, as the catalog knows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

# One that another session is still building is INVALID as well.
_INVALID = """
SELECT n.nspname, i.relname, t.relname, pg_catalog.pg_table_is_visible(i.oid)
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
WHERE NOT x.indisvalid AND i.relkind = 'i'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
                  WHERE p.index_relid = i.oid AND p.datname = pg_catalog.current_database())
ORDER BY i.oid
"""


@dataclass(frozen=True)
class InvalidIndex:
    """An index that serves no query."""

    schema: str
    name: str
    table: str
    is_visible: bool
    """Whether the search path leads to it."""

    @property
    def identifier(self) -> sql.Identifier:
        """Its name, with the schema where that is needed."""
        return sql.Identifier(*([] if self.is_visible else [self.schema]), self.name)

    @property
    def quoted(self) -> str:
        """The same as text."""
        return self.identifier.as_string(None)


def invalid_indexes(raw: psycopg.Connection[Any]) -> list[InvalidIndex]:
    """Return the INVALID indexes of the database that no session is building."""
    return [InvalidIndex(*row) for row in raw.execute(_INVALID)]


def invalid_indexes_named_in(text: str, raw: psycopg.Connection[Any]) -> list[InvalidIndex]:
    """Return those whose name, or that of the index they were to replace, stands in ``text``."""
    return [each for each in invalid_indexes(raw) if replaced_name(each.name) in text]


def replaced_name(name: str) -> str:
    """Return the name of the index that a ``REINDEX CONCURRENTLY`` was to replace by this one."""
    for suffix in ("_ccnew", "_ccold"):
        start, found, number = name.rpartition(suffix)
        if found and (not number or number.isdigit()):
            return start
    return name
