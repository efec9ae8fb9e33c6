"""``ANALYZE`` after a migration, of the tables whose statistics it has made useless."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.db import transaction
from psycopg import sql

from django_confiture import conf
from django_confiture.formatting import one_line
from django_confiture.postgres import POSTGRESQL_15

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("django_confiture.migrate")

DEFAULT_LOCK_TIMEOUT = timedelta(seconds=1)
_LEAST_ROWS = 50
_SHARE = 0.1
"""Autovacuum's own thresholds: a number of rows, and a share of the table."""

_TABLES = """
SELECT c.oid::bigint, c.relfilenode::bigint, n.nspname, c.relname,
       pg_catalog.pg_stat_get_mod_since_analyze(c.oid), pg_catalog.pg_stat_get_live_tuples(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema'
"""
_EXPRESSION_INDEXES = """
SELECT indexrelid::bigint, indrelid::bigint FROM pg_catalog.pg_index WHERE indexprs IS NOT NULL
"""


@dataclass(frozen=True)
class Table:
    """A table at one moment."""

    file: int
    schema: str
    name: str
    modified: int
    """Rows written since the last ANALYZE."""
    live: int


@dataclass(frozen=True)
class Snapshot:
    """What is compared later: tables by OID, and the tables of indexes on expressions."""

    tables: Mapping[int, Table]
    expression_indexes: Mapping[int, int]


def snapshot(connection: BaseDatabaseWrapper) -> Snapshot:
    """Return the tables as they are now."""
    connection.ensure_connection()
    raw = connection.connection
    return Snapshot(
        {oid: Table(*facts) for oid, *facts in raw.execute(_TABLES)},
        dict(raw.execute(_EXPRESSION_INDEXES).fetchall()),
    )


def analyze_what_changed(
    connection: BaseDatabaseWrapper,
    before: Snapshot,
    *,
    lock_timeout: timedelta | None,
    facts: Mapping[str, object],
) -> None:
    """Analyze each table that was rewritten, filled, or got an index on an expression."""
    raw = connection.connection
    if raw.info.server_version >= POSTGRESQL_15:  # counters are written once a second at most
        raw.execute("SELECT pg_catalog.pg_stat_force_next_flush()")
    after = snapshot(connection)
    for oid, reason in _reasons(before, after).items():
        _analyze(connection, after.tables[oid], reason, lock_timeout or DEFAULT_LOCK_TIMEOUT, facts)


def _reasons(before: Snapshot, after: Snapshot) -> dict[int, str]:
    """Return why each table needs ANALYZE, by OID."""
    reasons: dict[int, str] = {}
    for index, oid in after.expression_indexes.items():
        if index not in before.expression_indexes and oid in after.tables:
            reasons[oid] = "index on an expression"
    for oid, table in after.tables.items():
        known = before.tables.get(oid)
        written = table.modified - (known.modified if known is not None else 0)
        if written >= _LEAST_ROWS + _SHARE * table.live:
            reasons[oid] = "filled"
        if known is not None and known.file != table.file:
            reasons[oid] = "rewritten"
    return reasons


def _analyze(
    connection: BaseDatabaseWrapper,
    table: Table,
    reason: str,
    lock_timeout: timedelta,
    facts: Mapping[str, object],
) -> None:
    began = perf_counter()
    said: dict[str, Any] = {**facts, "table": table.name, "reason": reason}
    raw = connection.connection
    try:
        with transaction.atomic(using=connection.alias), connection.wrap_database_errors:
            timeout = conf.milliseconds(lock_timeout)
            raw.execute("SELECT pg_catalog.set_config('lock_timeout', %s, true)", [timeout])
            raw.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table.schema, table.name)))
    except Exception as error:  # noqa: BLE001 - the migration is committed; autovacuum will do it
        logger.warning("analyze_failed", extra={**said, "error": one_line(error)})
        return
    duration_ms = round((perf_counter() - began) * 1000)
    logger.info("analyzed", extra={**said, "duration_ms": duration_ms})
