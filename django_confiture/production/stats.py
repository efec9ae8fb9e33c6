"""The statistics of one database: names, counts, bytes and seconds, but no values of rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django_confiture.dataclass_trees import to_json_values

VERSION = 1

Setting = int | float | bool | str


@dataclass(frozen=True)
class IndexStats:
    """One index; for a partitioned table, the sum of its parts."""

    name: str
    method: str
    """PostgreSQL's access method, such as ``btree``."""
    bytes: int
    unique: bool
    partial: bool
    columns: tuple[str, ...]
    """The key columns in order, without expressions."""
    expression: bool
    """Whether any key is an expression."""
    valid: bool


@dataclass(frozen=True)
class TableStats:
    """One table or materialized view; for a partitioned table, the sum of its leaves."""

    relation: str
    """With its schema only outside the search path, as reports name it."""
    schema: str
    kind: str
    """``table``, ``partitioned`` or ``materialized view``."""
    rows: int | None
    """The planner's count; None if the table was never analyzed and is not empty."""
    analyzed: bool
    """Whether the planner has a count."""
    live_rows: int | None
    """From the cumulative statistics; None on a standby, like the next two."""
    dead_rows: int | None
    changed_rows: int | None
    """Rows written since the last ANALYZE."""
    heap_bytes: int
    toast_bytes: int
    index_bytes: int
    total_bytes: int
    row_bytes: float | None
    """Heap bytes per row, dead space included."""
    analyzed_seconds_ago: float | None
    vacuumed_seconds_ago: float | None
    reads_per_second: float | None
    """Scans started on the table or one of its indexes."""
    writes_per_second: float | None
    """Rows inserted, updated and deleted."""
    partitions: tuple[str, ...] = ()
    """The leaves, as ``relation`` names them."""
    indexes: tuple[IndexStats, ...] = ()


@dataclass(frozen=True)
class QueryStats:
    """One statement that production runs often, without the values in it."""

    id: str
    """``queryid`` of pg_stat_statements."""
    text: str
    calls_per_second: float | None
    """None if it is unknown since when calls are counted."""
    mean_ms: float


@dataclass(frozen=True)
class ProductionStats:
    """One database at one moment."""

    database: str
    server_version: int
    """Such as 180006."""
    standby: bool
    size_bytes: int
    collected_at: datetime
    window_seconds: float | None
    """The time over which the rates were measured; None if unknown, and then there are no rates."""
    oldest_transaction_seconds: float | None
    """0.0 if none is open; None if one may be hidden from this role."""
    settings: Mapping[str, Setting]
    """In bytes and milliseconds if the setting has a unit."""
    tables: Mapping[str, TableStats] = field(default_factory=dict)
    """By ``relation``."""
    free_disk_bytes: int | None = None
    """PostgreSQL doesn't say; you may write it into the file."""
    queries: tuple[QueryStats, ...] = ()
    """The most frequent ones, where they were asked for."""

    def to_json(self) -> str:
        """Return the file that :func:`~django_confiture.production.load` reads.

        It has a line for each table and each query, so that two files can be compared.
        """
        facts = {"confiture_stats": VERSION, **to_json_values(self)}
        tables, queries = facts.pop("tables"), facts.pop("queries")
        lines = [f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in facts.items()]
        if queries:
            each = ",\n".join(f"  {json.dumps(query)}" for query in queries)
            lines.append(f' "queries": [\n{each}\n ],\n')
        rows = [f"  {json.dumps(name)}: {_without_name(table)}" for name, table in tables.items()]
        return "".join(["{\n", *lines, ' "tables": {\n', ",\n".join(rows), "\n }\n}\n"])


def _without_name(table: dict[str, Any]) -> str:
    """Return a table as JSON, without the name that is its key."""
    return json.dumps({key: value for key, value in table.items() if key != "relation"})
