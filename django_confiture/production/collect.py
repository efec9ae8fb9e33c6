"""Reads the statistics in one or two short read-only transactions."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from django.db import DatabaseError
from psycopg.rows import tuple_row

from django_confiture.database_errors import other_database
from django_confiture.exceptions import StatsError
from django_confiture.formatting import one_line
from django_confiture.production import queries
from django_confiture.production.assemble import Look, assemble
from django_confiture.production.stats import ProductionStats, QueryStats, Setting

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

SETTINGS = (
    "shared_buffers",
    "work_mem",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "max_wal_size",
    "checkpoint_timeout",
    "wal_level",
    "synchronous_commit",
    "full_page_writes",
    "wal_compression",
    "max_locks_per_transaction",
    "max_connections",
    "data_checksums",
)

# In bytes and in milliseconds.
_UNITS = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "ms": 1, "s": 1000, "min": 60_000}


ReadQueries = Callable[[psycopg.Cursor[tuple[Any, ...]]], tuple[QueryStats, ...]]


class _Server(NamedTuple):
    database: str
    version: int
    standby: bool
    size: int
    clock: float
    reset: float | None


def collect(
    connection: BaseDatabaseWrapper | psycopg.Connection[Any],
    interval: timedelta | None = None,
    *,
    read_queries: ReadQueries | None = None,
) -> ProductionStats:
    """Return what the catalogs and counters say; rates over ``interval``, else since their reset.

    ``read_queries`` reads frequent statements, which is done only where it was asked for.

    Writes nothing, reads no row of any table, and holds no transaction open while it waits.
    Raises :class:`~django_confiture.exceptions.StatsError` if the database refuses.
    """
    raw = _raw(connection)
    try:
        with _reading(raw) as cursor:
            server = _Server(*cursor.execute(queries.SERVER).fetchall()[0])
            oldest = _oldest_transaction(cursor)
            settings = _settings(cursor)
            look = _look(cursor, standby=server.standby)
            counters = _counters(cursor)
            frequent = () if read_queries is None else read_queries(cursor)
        window, rates = _measured_rates(raw, server, counters, interval)
    except psycopg.errors.LockNotAvailable as error:
        raise StatsError("Another session has just locked a table; run it again.") from error
    except psycopg.Error as error:
        raise StatsError(f"Cannot read the statistics: {one_line(error)}") from error
    return ProductionStats(
        database=server.database,
        server_version=server.version,
        standby=server.standby,
        size_bytes=server.size,
        collected_at=datetime.fromtimestamp(server.clock, UTC),
        window_seconds=window,
        oldest_transaction_seconds=oldest,
        settings=settings,
        tables=assemble(look, rates),
        queries=frequent,
    )


def _measured_rates(
    raw: psycopg.Connection[Any],
    server: _Server,
    counters: tuple[float, Counters],
    interval: timedelta | None,
) -> tuple[float | None, Rates]:
    """Return the time in seconds over which the rates were measured, and the rates by OID."""
    if not interval:
        window = None if server.reset is None else server.clock - server.reset
        return window, _rates({}, counters[1], window)
    time.sleep(interval.total_seconds())
    with _reading(raw) as cursor:
        after = _counters(cursor)
    elapsed = after[0] - counters[0]
    return elapsed, _rates(counters[1], after[1], elapsed)


def _raw(connection: BaseDatabaseWrapper | psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    if isinstance(connection, psycopg.Connection):
        return connection
    if problem := other_database(connection, "confiture_stats"):
        raise StatsError(problem)
    try:
        connection.ensure_connection()
    except (DatabaseError, psycopg.Error) as error:
        reason = one_line(error)
        raise StatsError(f"Cannot connect to {connection.alias!r}: {reason}") from error
    raw: psycopg.Connection[Any] = connection.connection
    return raw


@contextmanager
def _reading(raw: psycopg.Connection[Any]) -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
    """Open a read-only transaction, or a savepoint in an open one, and roll it back at the end."""
    with raw.transaction(force_rollback=True), raw.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(queries.TIMEOUTS, prepare=False)
        yield cursor


def _oldest_transaction(cursor: psycopg.Cursor[tuple[Any, ...]]) -> float | None:
    """Return the age of the oldest transaction of others; None if one may be hidden."""
    ((seconds, hidden),) = cursor.execute(queries.OLDEST_TRANSACTION).fetchall()
    return None if hidden else seconds or 0.0


def _settings(cursor: psycopg.Cursor[tuple[Any, ...]]) -> dict[str, Setting]:
    rows = cursor.execute(queries.SETTINGS, [list(SETTINGS)]).fetchall()
    return {name: _setting(*rest) for name, *rest in rows}


def _setting(value: str, unit: str | None, kind: str) -> Setting:
    if kind == "bool":
        return value == "on"
    if kind not in ("integer", "real"):
        return value
    number = int(value) if kind == "integer" else float(value)
    match = re.fullmatch(r"(\d*)([A-Za-z]+)", unit or "")
    if match is None or number < 0:
        return number
    return number * int(match[1] or 1) * _UNITS[match[2]]


def _look(cursor: psycopg.Cursor[tuple[Any, ...]], *, standby: bool) -> Look:
    return Look(
        relations=cursor.execute(queries.RELATIONS).fetchall(),
        indexes=cursor.execute(queries.INDEXES).fetchall(),
        inherits=cursor.execute(queries.INHERITS).fetchall(),
        # A standby counts its own reads, but not what the primary writes.
        upkeep={} if standby else {o: row for o, *row in cursor.execute(queries.UPKEEP)},
        standby=standby,
    )


Counters = dict[int, tuple[int, int]]
Rates = dict[int, tuple[float | None, float | None]]


def _counters(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[float, Counters]:
    """Return the server's clock, and the scans and the rows written so far by OID."""
    ((clock,),) = cursor.execute(queries.CLOCK).fetchall()
    return clock, {o: (scans, writes) for o, scans, writes in cursor.execute(queries.COUNTERS)}


def _rates(before: Counters, after: Counters, window: float | None) -> Rates:
    """Return the rate per second; None if the counters were reset meanwhile."""
    if not window or window < 0:
        return {}
    found: Rates = {}
    for oid, counts in after.items():
        happened = [new - old for new, old in zip(counts, before.get(oid, (0, 0)), strict=True)]
        reads, writes = (None if each < 0 else each / window for each in happened)
        found[oid] = reads, writes
    return found
