"""``validate_tenant``: tables have their tenant column, NOT NULL, indexed, without orphans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from psycopg import sql

from django_confiture.exceptions import HookVeto
from django_confiture.formatting import count
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin import options
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.options import Option, optional
from django_confiture.hooks.builtin.tables import identifier, primary_key, require_table, rows

if TYPE_CHECKING:
    import psycopg

_SHOWN = 5

# Partitions are as their table is. An index serves where the column comes first.
_TABLES = """
SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname
            ELSE concat(n.nspname, '.', c.relname) END,
  n.nspname, c.relname, a.attnum IS NOT NULL, coalesce(a.attnotnull, false),
  EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisvalid
    AND i.indpred IS NULL AND i.indkey[0] = a.attnum),
  EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'
    AND k.convalidated AND k.conkey = ARRAY[a.attnum] AND k.confrelid = %(tenants)s)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = %(column)s
  AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY 1
"""


@dataclass(frozen=True)
class _Table:
    """One table, and what the catalog says of its tenant column."""

    name: str
    schema: str
    relation: str
    has_column: bool
    not_null: bool
    indexed: bool
    referenced: bool
    """Whether a valid foreign key to the tenants proves that there are no orphans."""


class ValidateTenant(ShippedHook):
    """Refuses a migration that leaves a table without a sound tenant column.

    Each table that matches has the column, it is ``NOT NULL``, the first of a valid index, and, if
    ``references`` is given, each of its values is a tenant. The veto names every table at fault,
    and the first orphans by keys that are numbers or UUIDs.

    Options, of which ``tables`` is needed:

    ``tables``
        A list of patterns for tables, such as ``"shop_*"``; those outside the search path are
        matched with their schema.
    ``exclude``
        A list of patterns for tables that have no tenant.
    ``column``
        The tenant column.
    ``references``
        The table of the tenants, whose primary key the column holds. A valid foreign key proves it
        without reading the table.

    In a dry run it does the same. It runs forward only: backwards the column may be gone.
    """

    registered_name = "validate_tenant"
    phase = HookPhase.AFTER_VALIDATION
    directions: ClassVar[tuple[str, ...]] = ("forward",)

    tables = Option(options.texts)
    exclude = Option(options.texts, default=())
    column = Option(options.text, default="tenant_id")
    references = Option(optional(options.text), default=None)

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Look at each table; veto with all that is wrong."""
        tables = self._tables(conn)
        if not tables:
            raise HookVeto(
                f"No table matches {', '.join(map(repr, self.tables))}; correct the option "
                "'tables' of validate_tenant."
            )
        problems: list[str] = []
        for done, table in enumerate(tables):
            context.progress(done, len(tables))
            problems += [f"{table.name} {problem}" for problem in self._problems(conn, table)]
        if problems:
            raise HookVeto(f"After {context.label}, {'; '.join(problems)}.")
        return self.result(tables=[table.name for table in tables])

    def _tables(self, conn: psycopg.Connection[Any]) -> list[_Table]:
        tenants = None if self.references is None else require_table(conn, self.references)
        given = {"tenants": tenants, "column": self.column}
        found = [_Table(*row) for row in rows(conn, _TABLES, given)]
        return [
            table
            for table in found
            if any(fnmatchcase(table.name, pattern) for pattern in self.tables)
            and not any(fnmatchcase(table.name, pattern) for pattern in self.exclude)
            and table.name != self.references
        ]

    def _problems(self, conn: psycopg.Connection[Any], table: _Table) -> Iterator[str]:
        if not table.has_column:
            yield f"has no column {self.column}"
            return
        if not table.not_null:
            yield f"lets {self.column} be NULL"
        if not table.indexed:
            yield f"has no valid index that starts with {self.column}"
        if self.references is not None and not table.referenced:
            yield from self._orphans(conn, table, self.references)

    def _orphans(self, conn: psycopg.Connection[Any], table: _Table, tenants: str) -> Iterator[str]:
        tenant_key = primary_key(conn, tenants)
        if tenant_key is None or len(tenant_key.columns) != 1:
            raise HookVeto(f"{tenants} has no primary key of one column to look tenants up by.")
        full_name = sql.Identifier(table.schema, table.relation).as_string(conn)
        key = primary_key(conn, full_name)
        query = sql.SQL(
            "SELECT count(*), (array_agg({key} ORDER BY {key}))[1:{shown}] FROM {table} r"
            " WHERE {column} IS NOT NULL AND NOT EXISTS"
            " (SELECT FROM {tenants} t WHERE t.{tenant} = r.{column})"
        ).format(
            key=key.as_text() if key is not None else sql.SQL("NULL::text"),
            shown=sql.Literal(_SHOWN),
            table=identifier(full_name),
            column=sql.Identifier(self.column),
            tenants=identifier(tenants),
            tenant=sql.Identifier(tenant_key.columns[0]),
        )
        ((orphans, keys),) = rows(conn, query)
        if orphans:
            named = f" (keys {', '.join(keys)})" if key is not None and key.may_be_shown else ""
            yield f"has {count(orphans, 'row')}{named} of no tenant in {tenants}"
