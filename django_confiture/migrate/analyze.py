"""``ANALYZE`` after a migration, of the tables whose statistics it has made useless.

A partitioned table has no rows of its own, and autovacuum never analyzes it: what its partitions
have been through counts together.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.db import transaction
from psycopg import sql

from django_confiture import conf
from django_confiture.formatting import one_line
from django_confiture.postgres import POSTGRESQL_15, POSTGRESQL_18

if TYPE_CHECKING:
    import psycopg
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("django_confiture.migrate")

DEFAULT_LOCK_TIMEOUT = timedelta(seconds=1)
_LEAST_ROWS = 50
_SHARE = 0.1
"""Autovacuum's own thresholds: a number of rows, and a share of the table."""

_TABLES = """
SELECT c.oid::bigint, c.relfilenode::bigint, n.nspname, c.relname,
       pg_catalog.pg_stat_get_mod_since_analyze(c.oid), pg_catalog.pg_stat_get_live_tuples(c.oid),
       c.relkind = 'p', CASE WHEN c.relispartition THEN ARRAY(
         SELECT a.relid::oid::bigint FROM pg_catalog.pg_partition_ancestors(c.oid) a
         WHERE a.relid <> c.oid
       ) ELSE '{}' END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema'
"""
_EXPRESSION_INDEXES = """
SELECT indexrelid::bigint, indrelid::bigint FROM pg_catalog.pg_index WHERE indexprs IS NOT NULL
"""

# What the planner knows of columns' values, by table. Whatever changes a column's type drops it,
# also where no row is written: varchar(100) to varchar(200).
_COLUMN_STATISTICS = """
SELECT c.oid::bigint, s.attname FROM pg_catalog.pg_stats s
JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND c.relkind IN ('r', 'm', 'p')
"""
_COLUMNS = """
SELECT attrelid::bigint, attname FROM pg_catalog.pg_attribute
WHERE attrelid = ANY (%s) AND NOT attisdropped
"""


@dataclass(frozen=True)
class TableState:
    """A table at one moment."""

    file: int
    schema: str
    name: str
    modified: int
    """Rows written since the last ANALYZE."""
    live: int
    is_partitioned: bool
    ancestors: Sequence[int]
    """The partitioned tables that it is a part of, by OID."""


@dataclass(frozen=True)
class Snapshot:
    """What is compared later."""

    tables: Mapping[int, TableState]
    """By OID."""
    expression_indexes: Mapping[int, int]
    """Index on an expression → its table."""
    columns_known: Set[tuple[int, str]]
    """(table, column) that the planner has statistics of."""


def snapshot(connection: BaseDatabaseWrapper) -> Snapshot:
    """Return the tables as they are now."""
    connection.ensure_connection()
    raw = connection.connection
    return Snapshot(
        {oid: TableState(*facts) for oid, *facts in raw.execute(_TABLES)},
        dict(raw.execute(_EXPRESSION_INDEXES).fetchall()),
        {(oid, column) for oid, column in raw.execute(_COLUMN_STATISTICS)},
    )


def analyze_what_changed(
    connection: BaseDatabaseWrapper,
    before: Snapshot,
    *,
    lock_timeout: timedelta | None,
    facts: Mapping[str, object],
) -> None:
    """Analyze each table that was rewritten, filled, or lacks the statistics of something."""
    raw = connection.connection
    if raw.info.server_version >= POSTGRESQL_15:  # counters are written once a second at most
        raw.execute("SELECT pg_catalog.pg_stat_force_next_flush()")
    after = snapshot(connection)
    reasons = _forgotten(raw, before, after) | _reasons(before, after)
    takes_parts = raw.info.server_version < POSTGRESQL_18  # since then, ONLY leaves them alone
    for oid, reason in reasons.items():
        table = after.tables[oid]
        if takes_parts and any(ancestor in reasons for ancestor in table.ancestors):
            continue
        what = sql.SQL("ONLY {}" if table.is_partitioned and not takes_parts else "{}").format(
            sql.Identifier(table.schema, table.name)
        )
        said = {**facts, "table": table.name, "reason": reason}
        _analyze(connection, what, lock_timeout or DEFAULT_LOCK_TIMEOUT, said)


def analyze_table(raw: psycopg.Connection[Any], table: sql.Composable) -> list[str]:
    """Run ``ANALYZE``; return the warnings of the server, which skips what the role may not do."""
    warnings: list[str] = []

    def note(said: psycopg.errors.Diagnostic) -> None:
        if said.severity_nonlocalized == "WARNING":
            warnings.append(str(said.message_primary))

    raw.add_notice_handler(note)
    try:
        raw.execute(sql.SQL("ANALYZE {}").format(table))
    finally:
        raw.remove_notice_handler(note)
    return warnings


def _forgotten(raw: psycopg.Connection[Any], before: Snapshot, after: Snapshot) -> dict[int, str]:
    """Return why to analyze the tables with columns of another type, by OID."""
    lost = before.columns_known - after.columns_known
    if not lost:
        return {}
    there = raw.execute(_COLUMNS, [[oid for oid, _column in lost]]).fetchall()
    return {oid: "type of a column" for oid, _column in lost & {*there}}


def _reasons(before: Snapshot, after: Snapshot) -> dict[int, str]:
    """Return why each table needs ANALYZE, by OID."""
    reasons: dict[int, str] = {}
    partitions = _partitions(after)
    for index, oid in after.expression_indexes.items():
        table = after.tables.get(oid)
        if index in before.expression_indexes or table is None or table.is_partitioned:
            continue  # of a partitioned table, the indexes of the partitions get statistics
        reasons[oid] = "index on an expression"
    for oid, table in after.tables.items():
        parts = partitions[oid] if table.is_partitioned else [(oid, table)]
        written = sum(each.modified - _modified(before.tables.get(part)) for part, each in parts)
        if parts and written >= _LEAST_ROWS + _SHARE * sum(each.live for _, each in parts):
            reasons[oid] = "filled"
        known = [(before.tables[part], each) for part, each in parts if part in before.tables]
        if known and all(old.file != new.file for old, new in known):
            reasons[oid] = "rewritten"
    return reasons


def _partitions(found: Snapshot) -> Mapping[int, Sequence[tuple[int, TableState]]]:
    """Return the tables that hold the rows of partitioned tables, by the OID of these."""
    partitions: defaultdict[int, list[tuple[int, TableState]]] = defaultdict(list)
    for oid, table in found.tables.items():
        for ancestor in () if table.is_partitioned else table.ancestors:
            partitions[ancestor].append((oid, table))
    return partitions


def _modified(table: TableState | None) -> int:
    return table.modified if table is not None else 0


def _analyze(
    connection: BaseDatabaseWrapper,
    table: sql.Composed,
    lock_timeout: timedelta,
    said: Mapping[str, object],
) -> None:
    began = perf_counter()
    raw = connection.connection
    try:
        with transaction.atomic(using=connection.alias), connection.wrap_database_errors:
            timeout = conf.milliseconds(lock_timeout)
            raw.execute("SELECT pg_catalog.set_config('lock_timeout', %s, true)", [timeout])
            if skipped := analyze_table(raw, table):
                logger.warning("analyze_failed", extra={**said, "error": "; ".join(skipped)})
                return
    except Exception as error:  # noqa: BLE001 - the migration is committed; autovacuum will do it
        logger.warning("analyze_failed", extra={**said, "error": one_line(error)})
        return
    duration_ms = round((perf_counter() - began) * 1000)
    logger.info("analyzed", extra={**said, "duration_ms": duration_ms})
