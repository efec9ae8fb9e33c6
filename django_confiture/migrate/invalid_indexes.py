"""Indexes that a cut-off ``CONCURRENTLY`` has left INVALID, as the catalog knows them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from django_confiture.sql_text import stands_in

if TYPE_CHECKING:
    import psycopg

# One that another session is still building is INVALID as well. The index of a TOAST table is
# rebuilt with those of the table that it belongs to, by which alone a statement can name it.
INVALID_INDEXES = """
SELECT n.nspname, i.relname, t.relname, b.nspname,
  pg_catalog.pg_table_is_visible(CASE WHEN t.oid = x.indrelid THEN i.oid ELSE t.oid END)
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = coalesce(
  (SELECT o.oid FROM pg_catalog.pg_class o WHERE o.reltoastrelid = x.indrelid), x.indrelid)
JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
JOIN pg_catalog.pg_namespace b ON b.oid = t.relnamespace
WHERE NOT x.indisvalid AND i.relkind = 'i'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
                  WHERE p.index_relid = i.oid AND p.datname = pg_catalog.current_database())
ORDER BY i.oid
"""


_LONGEST = 63
"""Bytes of a name; PostgreSQL cuts the rest off, of a name that it makes up in the middle."""


@dataclass(frozen=True)
class InvalidIndex:
    """An index that serves no query."""

    schema: str
    name: str
    table: str
    """The one that it serves; of a TOAST table, the one that this belongs to."""
    table_schema: str
    is_visible: bool
    """Whether the search path leads to it, or to the table that it is a part of."""

    @property
    def is_of_toast(self) -> bool:
        """Whether it is the index of a TOAST table."""
        return self.schema == "pg_toast"

    @property
    def identifier(self) -> sql.Identifier:
        """The index's name, with its schema where the search path does not lead to it."""
        on_path = self.is_visible and not self.is_of_toast
        return sql.Identifier(*([] if on_path else [self.schema]), self.name)

    @property
    def quoted(self) -> str:
        """The same, quoted, as text."""
        return self.identifier.as_string(None)

    def is_left_by(self, text: str, *, reindex: bool) -> bool:
        """Return whether a statement with this text may have left it behind.

        ``REINDEX`` leaves indexes under other names than those that it names.
        """
        if not self.is_visible and not stands_in(self.table_schema, text):
            return False
        return self._is_rebuilt_by(text) if reindex else stands_in(self.name, text)

    def _is_rebuilt_by(self, text: str) -> bool:
        replaced = _replaced_name(self.name)
        if replaced is None:
            return False
        is_cut = len(self.name.encode()) >= _LONGEST
        return stands_in(self.table, text) or stands_in(replaced, text, is_cut=is_cut)


def invalid_indexes_left_by(
    text: str, raw: psycopg.Connection[Any], *, reindex: bool
) -> list[InvalidIndex]:
    """Return the INVALID indexes that a statement has left, and that no session is building."""
    found = (InvalidIndex(*row) for row in raw.execute(INVALID_INDEXES))
    return [each for each in found if each.is_left_by(text, reindex=reindex)]


def _replaced_name(name: str) -> str | None:
    """Return the index that ``REINDEX CONCURRENTLY`` was to replace by this one, or by which."""
    match = re.fullmatch(r"(.+)_cc(?:new|old)\d*", name, re.DOTALL)
    return match[1] if match else None
