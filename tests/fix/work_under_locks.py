"""Watches a real migrate: statements that work on many rows while a table's writers wait.

The backend itself tells: its counters of rows, and its locks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

MANY = 1000
_ROWS = """
SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0) + n_tup_upd + n_tup_del), 0)
FROM pg_stat_xact_user_tables
"""
_LOCKED = f"""
SELECT string_agg(DISTINCT relation::regclass || ' ' || mode, ', ') FROM pg_locks
JOIN pg_class c ON c.oid = relation AND c.reltuples > {MANY}
WHERE pid = pg_backend_pid() AND granted AND mode IN
  ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""


@contextmanager
def work_under_locks() -> Iterator[list[str]]:
    """Yield what is found while the context lasts: rows, locks and statement, one line each."""
    found: list[str] = []

    def watch(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if not connection.in_atomic_block:
            return execute(sql, params, many, context)
        before = _ask(_ROWS)
        result = execute(sql, params, many, context)
        rows = _ask(_ROWS) - before
        if rows > MANY and (locked := _ask(_LOCKED)):
            found.append(f"{rows} rows under {locked}: {sql}")
        return result

    with connection.execute_wrapper(watch):
        yield found


def _ask(question: str) -> Any:
    with connection.connection.cursor() as cursor:
        return cursor.execute(question).fetchone()[0]
