"""``capture_counts``: counts, sums and checksums before a migration, for ``verify_consistency``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django_confiture import conf
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.measures import (
    Captured,
    KeptKeys,
    query_value,
    table_measures,
)
from django_confiture.hooks.builtin.options import Option, flag, mapping_of, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

CAPTURED = "capture_counts"
"""The context's key of what was captured so far."""


class CaptureCounts(ShippedHook):
    """Measures tables and queries before a migration, and leaves the values in the context.

    Options, of which ``tables`` or ``queries`` is needed:

    ``tables``
        A list of tables to count. Or a dictionary: table → ``{"sum": [column, …], "checksum":
        [column, …]}``; a checksum covers the values of these columns in all rows.
    ``queries``
        A dictionary: name → SQL that returns a single value.
    ``keep_keys``
        Keep the primary keys of the tables in a temporary table, so that ``verify_consistency``
        can name the rows that are gone, new or changed. False saves that room.

    The values are called ``shop_order`` (its count), ``sum(shop_order.total)``,
    ``checksum(shop_order)``, and as the queries are. In a dry run it does the same. Backwards it
    does the same around the reversed operations.
    """

    registered_name = "capture_counts"
    phase = HookPhase.BEFORE_DDL
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")

    tables = Option(table_measures, default=())
    queries = Option(mapping_of(text), default={})
    keep_keys = Option(flag, default=True)

    def contradictions(self) -> Iterator[conf.SettingError]:
        """Nothing to capture is a mistake."""
        if not self.tables and not self.queries:
            yield conf.SettingError(
                "capture_counts has neither 'tables' nor 'queries'",
                'name tables to count, such as {"tables": ["shop_order"]}',
            )

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Measure, and add the values to those that the context has."""
        before: Captured = context.get_stat(CAPTURED) or Captured()
        total = len(self.tables) + len(self.queries)
        values: dict[str, Any] = {}
        keys: dict[str, KeptKeys] = {}
        for measures in self.tables:
            values.update(zip(measures.names, measures.values(conn), strict=True))
            if self.keep_keys:
                number = len(before.keys) + len(keys) + 1
                if kept := KeptKeys.keep(conn, measures, number):
                    keys[measures.table] = kept
            context.progress(len(values), total)
        for name, query in self.queries.items():
            values[name] = query_value(conn, name, query)
        captured = before.and_(Captured(values, self.tables, self.queries, keys))
        context.set_stat(CAPTURED, captured)
        return self.result(**values)
