"""A step that was cut off partway: what the catalog shows of it, and what to clean up."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any

from psycopg import sql

from django_confiture.migrate.announcements import log_facts
from django_confiture.migrate.invalid_indexes import (
    InvalidIndex,
    invalid_indexes,
    replaced_name,
)

if TYPE_CHECKING:
    import psycopg
    from django.db.migrations.migration import Migration

    from django_confiture.migrate.journal import Backend, Entry
    from django_confiture.migrate.steps import Step

logger = logging.getLogger("django_confiture.migrate")

_POLL_S = 0.1

_INDEXES = """
SELECT i.relname, i.oid::bigint, x.indisvalid FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
WHERE n.nspname !~ '^pg_' AND position(i.relname IN %s) > 0
"""

_IS_AT_WORK = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity
WHERE pid = %s AND extract(epoch FROM backend_start)::text = %s AND state = 'active'
  AND pid <> pg_catalog.pg_backend_pid())
"""


def indexes_named_in(names: str, raw: psycopg.Connection[Any]) -> dict[str, tuple[int, bool]]:
    """Return the indexes named in a text: their OIDs, and whether they are valid."""
    if not names:
        return {}
    rows = raw.execute(_INDEXES, [names])
    return {name: (oid, valid) for name, oid, valid in rows if _stands_in(name, names)}


def wait_for_orphan(backend: Backend, migration: Migration, raw: psycopg.Connection[Any]) -> None:
    """Wait until the session of a killed ``migrate`` has finished its statement."""
    if backend.pid is None:
        return
    said = False
    while True:
        row = raw.execute(_IS_AT_WORK, [backend.pid, backend.started]).fetchone()
        if row is None or not row[0]:
            return
        if not said:
            said = True
            logger.warning("waits_for_orphan", extra={**log_facts(migration), "pid": backend.pid})
        time.sleep(_POLL_S)


def is_done(step: Step, entry: Entry, raw: psycopg.Connection[Any]) -> bool:
    """Return whether the catalog shows that a step was completed after it had been started."""
    there = indexes_named_in(step.names, raw)
    if step.verb == "create":
        return any(valid and entry.indexes.get(name) != oid for name, (oid, valid) in there.items())
    if step.verb == "drop":
        return bool(entry.indexes) and not (set(entry.indexes) & set(there))
    return False


def drop_invalid_indexes(step: Step, migration: Migration, raw: psycopg.Connection[Any]) -> None:
    """Drop the INVALID indexes that a cut-off CONCURRENTLY left, so that they can be built."""
    if not step.names:
        return
    for index in invalid_indexes(raw):
        if _was_left(index, step):
            raw.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(index.identifier))
            facts = {"index": index.name, "table": index.table}
            logger.warning("invalid_index_dropped", extra={**log_facts(migration), **facts})


def _was_left(index: InvalidIndex, step: Step) -> bool:
    if step.verb == "create":
        return _stands_in(index.name, step.names)
    rebuilt = replaced_name(index.name)
    return step.verb == "" and rebuilt != index.name and _stands_in(rebuilt, step.names)


def _stands_in(name: str, text: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text) is not None


def describe(step: Step, raw: psycopg.Connection[Any]) -> str:
    """Return a sentence about those of a step's indexes that exist, or nothing."""
    there = indexes_named_in(step.names, raw)
    if not there:
        return ""
    listed = ", ".join(
        f'"{name}" ({"valid" if valid else "INVALID"})' for name, (_, valid) in there.items()
    )
    return f"There is the index {listed}. "
