"""Tables and rows as the shipped hooks read them: rows as tuples, names quoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import tuple_row

from django_confiture.exceptions import HookVeto
from django_confiture.postgres import KEYS_THAT_TELL_NOTHING
from django_confiture.sql_text import parts_of

if TYPE_CHECKING:
    import psycopg

_PRIMARY_KEY = """
SELECT a.attname, y.typname
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
WHERE i.indrelid = %s AND i.indisprimary
ORDER BY array_position(i.indkey::int2[], a.attnum)
"""


@dataclass(frozen=True)
class PrimaryKey:
    """The columns of a primary key."""

    columns: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def may_be_shown(self) -> bool:
        """Whether its values tell nothing but which row it is: numbers and UUIDs."""
        return set(self.types) <= KEYS_THAT_TELL_NOTHING

    def as_text(self) -> sql.Composed:
        """Return the SQL of the key as one text."""
        columns = sql.SQL(", ").join(map(sql.Identifier, self.columns))
        return sql.SQL("concat_ws(', ', {})").format(columns)


def rows(
    conn: psycopg.Connection[Any],
    query: str | sql.Composable,
    params: Sequence[object] | Mapping[str, object] | None = None,
) -> list[tuple[Any, ...]]:
    """Return the rows of a query as tuples, whatever row factory the connection has."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(query, params)  # type: ignore[arg-type]  # a project's own SQL
        return cursor.fetchall() if cursor.description is not None else []


def identifier(table: str) -> sql.Identifier:
    """Return a table's name, with or without its schema, quoted.

    A part with a dot in it is written in quotes, as in SQL: ``sales."a.b"``.
    """
    return sql.Identifier(*(parts_of(table) or [table]))


def table_oid(conn: psycopg.Connection[Any], table: str) -> int | None:
    """Return the OID of a table, None where there is none of this name."""
    quoted = identifier(table).as_string(conn)
    ((oid,),) = rows(conn, "SELECT to_regclass(%s)::oid", [quoted])
    return None if oid is None else int(oid)


def require_table(conn: psycopg.Connection[Any], table: str) -> int:
    """Return the OID of a table; a :class:`HookVeto` where there is none of this name."""
    oid = table_oid(conn, table)
    if oid is None:
        raise HookVeto(
            f"There is no table {table!r} in the search path; write a table's name as PostgreSQL "
            "has it, outside the search path with its schema."
        )
    return oid


def primary_key(conn: psycopg.Connection[Any], table: str) -> PrimaryKey | None:
    """Return a table's primary key, None where it has none."""
    found = rows(conn, _PRIMARY_KEY, [require_table(conn, table)])
    if not found:
        return None
    columns, types = zip(*found, strict=True)
    return PrimaryKey(columns, types)
