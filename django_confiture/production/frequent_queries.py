"""The most frequent statements of a database, from ``pg_stat_statements``, without values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from django_confiture.exceptions import StatsError
from django_confiture.production.stats import QueryStats

Clean = Callable[[str], str | None]
"""Returns a statement without its values; None where it is none to keep."""

_READ_AT_MOST = 50
"""For each query that is wanted: others are of no use, or of other kinds."""
_HIDDEN = "<insufficient privilege>"

_SCHEMA = """
SELECT n.nspname FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'
"""
_MISSING = (
    "--queries needs the extension pg_stat_statements: add it to shared_preload_libraries, restart"
    " the server, and run CREATE EXTENSION pg_stat_statements in this database."
)


def frequent_queries(
    cursor: psycopg.Cursor[tuple[Any, ...]], *, count: int, clean: Clean
) -> tuple[QueryStats, ...]:
    """Return the ``count`` most frequent statements of this database that ``clean`` keeps.

    Raises :class:`~django_confiture.exceptions.StatsError` where they can't be read.
    """
    schema = cursor.execute(_SCHEMA).fetchone()
    if schema is None:
        raise StatsError(_MISSING)
    try:
        rows = cursor.execute(_statements(schema[0]), [count * _READ_AT_MOST]).fetchall()
    except psycopg.errors.ObjectNotInPrerequisiteState as error:  # it is not preloaded
        raise StatsError(_MISSING) from error
    if rows and all(text == _HIDDEN for _id, text, _calls, _mean, _window in rows):
        raise StatsError(
            "--queries needs the texts of other users' statements: GRANT pg_read_all_stats to"
            " this role."
        )
    found: dict[str, QueryStats] = {}
    for number, text, calls, mean_ms, window in rows:
        clean_text = None if text in (None, _HIDDEN) else clean(text)
        if clean_text is not None and clean_text not in found:
            rate = calls / window if window else None
            found[clean_text] = QueryStats(str(number), clean_text, rate, mean_ms)
        if len(found) == count:
            break
    return tuple(found.values())


def _statements(schema: str) -> psycopg.sql.Composed:
    return psycopg.sql.SQL(
        """
        SELECT s.queryid, pg_catalog.min(s.query), pg_catalog.sum(s.calls)::float8 AS calls,
          (pg_catalog.sum(s.total_exec_time) / pg_catalog.sum(s.calls))::float8,
          (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - i.stats_reset)::float8
           FROM {schema}.pg_stat_statements_info i)
        FROM {schema}.pg_stat_statements s
        WHERE s.queryid IS NOT NULL AND s.calls > 0 AND s.dbid = (
          SELECT d.oid FROM pg_catalog.pg_database d
          WHERE d.datname = pg_catalog.current_database())
        GROUP BY s.queryid ORDER BY calls DESC, s.queryid LIMIT %s
        """
    ).format(schema=psycopg.sql.Identifier(schema))
