"""A step that was cut off partway: what the catalog shows of it, and what to clean up."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql

from django_confiture.migrate.invalid_indexes import invalid_indexes_left_by
from django_confiture.migrate.pending_detach import State
from django_confiture.migrate.watching.announcements import log_facts
from django_confiture.sql_text import stands_in

if TYPE_CHECKING:
    import psycopg
    from django.db.migrations.migration import Migration

    from django_confiture.migrate.resuming.journal import Backend, JournalEntry
    from django_confiture.migrate.resuming.steps import ResumableStep

logger = logging.getLogger("django_confiture.migrate")

_POLL_S = 0.1

_INDEXES = """
SELECT i.relname, i.oid::bigint, x.indisvalid, n.nspname, pg_catalog.pg_table_is_visible(i.oid)
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
WHERE n.nspname !~ '^pg_' AND position(lower(replace(i.relname, '"', '""')) IN lower(%s)) > 0
"""

# A role that was assumed (SET ROLE) sees nothing of its own login's sessions but the process, and
# that it is in a transaction.
_IS_AT_WORK = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
WHERE pid = %s AND pid <> pg_catalog.pg_backend_pid() AND CASE WHEN backend_start IS NULL
  THEN EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND locktype = 'virtualxid')
  ELSE %s IN ('', extract(epoch FROM backend_start)::text) AND state = 'active' END)
"""


def indexes_named_in(names: str, raw: psycopg.Connection[Any]) -> dict[str, tuple[int, bool]]:
    """Return the indexes named in a text: their OIDs, and whether they are valid.

    Of several schemas with an index of that name, the one named in the text counts, else the first
    of the search path.
    """
    if not names:
        return {}
    rows = [row for row in raw.execute(_INDEXES, [names]) if stands_in(row[0], names)]
    visible = {name: (oid, valid) for name, oid, valid, _schema, is_visible in rows if is_visible}
    named = {
        name: (oid, valid)
        for name, oid, valid, schema, _is_visible in rows
        if stands_in(schema, names)
    }
    return {**visible, **named}


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


def is_done(step: ResumableStep, entry: JournalEntry, raw: psycopg.Connection[Any]) -> bool:
    """Return whether the catalog shows that a step was completed after it had been started."""
    if step.detach is not None:
        return step.detach.state(raw) is State.DETACHED
    there = indexes_named_in(step.names, raw)
    if step.verb == "create":
        return any(valid and entry.indexes.get(name) != oid for name, (oid, valid) in there.items())
    if step.verb == "drop":
        left = {oid for oid, _valid in there.values()}
        return bool(entry.indexes) and not (set(entry.indexes.values()) & left)
    return False


def drop_invalid_indexes(
    step: ResumableStep, migration: Migration, raw: psycopg.Connection[Any]
) -> None:
    """Drop the INVALID indexes that a cut-off CONCURRENTLY left, so that they can be built."""
    if not step.names or step.verb == "drop":  # a second DROP gets rid of it
        return
    for index in invalid_indexes_left_by(step.names, raw, reindex=not step.verb):
        drop = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(index.identifier)
        facts = {**log_facts(migration), "index": index.name, "table": index.table}
        try:
            raw.execute(drop)
        except errors.InsufficientPrivilege:
            if not index.is_of_toast:
                raise
            facts["drop"] = drop.as_string(None)
            logger.warning("invalid_index_left", extra=facts)  # who is no superuser can't
        else:
            logger.warning("invalid_index_dropped", extra=facts)


def finalize_detach(
    step: ResumableStep, migration: Migration, raw: psycopg.Connection[Any]
) -> bool:
    """Complete a DETACH CONCURRENTLY that was cut off halfway; return whether there was one."""
    detach = step.detach
    if detach is None or detach.state(raw) is not State.PENDING:
        return False
    raw.execute(detach.finalize.encode())
    facts = {"partition": detach.partition, "table": detach.table}
    logger.warning("detach_finalized", extra={**log_facts(migration), **facts})
    return True


def describe(step: ResumableStep, raw: psycopg.Connection[Any]) -> str:
    """Return a sentence about the step's indexes that exist, or nothing."""
    there = indexes_named_in(step.names, raw)
    if not there:
        return ""
    listed = ", ".join(
        f'"{name}" ({"valid" if valid else "INVALID"})' for name, (_, valid) in there.items()
    )
    return f"There is the index {listed}. "
