"""What a dry run is about to touch and who is at work there, before the first migration runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules import Lookup, statement_locks
from django_confiture.dry_run.locks.user_code import runs_user_code
from django_confiture.dry_run.measuring.planned_writes import Written, written
from django_confiture.dry_run.plan import lock_estimate, other_sessions
from django_confiture.dry_run.plan.refusals import refuse_planned
from django_confiture.dry_run.results import DeadSpace, PlannedTable, Preflight
from django_confiture.dry_run.server.second_connection import backend_pid
from django_confiture.dry_run.sql.parser import parse
from django_confiture.formatting import count

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.dead_space import RowWidths
    from django_confiture.dry_run.plan.reader import Planned
    from django_confiture.dry_run.server.side_channel import Session

_SAVEPOINT = "confiture_preflight"
_PATIENCE = "100ms"
"""For a lock that somebody holds on a table whose size is asked for."""
_AT_MOST = "10s"
"""For one query of ours, whatever the setting for the migrations' statements."""

# $1: OIDs. Tables with their partitions; a partition goes with its parent where that is in it.
_TABLES = """
WITH RECURSIVE family (root, oid) AS (
  SELECT given, given FROM unnest($1::oid[]) AS given
  UNION
  SELECT f.root, i.inhrelid FROM family f
  JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid
)
SELECT r.oid, CASE WHEN pg_catalog.pg_table_is_visible(r.oid) THEN r.relname::text
    ELSE n.nspname || '.' || r.relname END,
  CASE WHEN bool_and(c.reltuples >= 0 OR c.relkind <> 'r')
    THEN sum(CASE WHEN c.relkind = 'r' THEN c.reltuples ELSE 0 END)::bigint END,
  sum({size}),
  sum(1 + (SELECT count(*) FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid)
    + CASE WHEN c.reltoastrelid <> 0 THEN 2 ELSE 0 END),
  json_agg(c.oid::bigint)
FROM family f
JOIN pg_catalog.pg_class c ON c.oid = f.oid
JOIN pg_catalog.pg_class r ON r.oid = f.root
JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
WHERE r.relkind IN ('r', 'p', 'm', 'f')
  AND NOT EXISTS (SELECT FROM family above WHERE above.oid = f.root AND above.root <> f.root)
GROUP BY r.oid, n.nspname
"""
_MEASURED = "pg_catalog.pg_total_relation_size(c.oid)"
_PAGES = "c.relpages::bigint * pg_catalog.current_setting('block_size')::bigint"


@dataclass(frozen=True)
class Table:
    """A table that exists, with its partitions; sizes in bytes."""

    oid: int
    relation: str
    rows: int | None
    total: int
    locks: int
    members: frozenset[int]


@dataclass
class _Touched:
    oids: set[int] = field(default_factory=set)
    writes: list[Written] = field(default_factory=list)


def look_ahead(
    planned: Planned,
    session: Session,
    widths: RowWidths,
    *,
    own_pids: Collection[int],
    max_dead_bytes: int | None,
    yield_after_ms: float | None,
) -> Preflight:
    """Return what the plan touches, as the catalogs say; nothing is locked afterwards.

    Raises :class:`DryRunRefused` where the plan can't be rehearsed here.
    """
    lock_timeout = session.value("SELECT setting FROM pg_settings WHERE name = 'lock_timeout'")
    with session.undone(_SAVEPOINT):
        session.query(
            "SELECT pg_catalog.set_config('lock_timeout', $1, true),"
            " pg_catalog.set_config('statement_timeout', $2, true)",
            [_PATIENCE, _AT_MOST],
        )
        touched = _touched(planned, session)
        tables = _tables(touched.oids | {each.table for each in touched.writes}, session)
        roots = {oid: table.oid for table in tables for oid in table.members}
        others = other_sessions.look(session, roots, [backend_pid(session), *own_pids])
        existing = sum(table.locks for table in tables)
        needed = lock_estimate.AROUND + planned.new_locks + existing
        locks = other_sessions.lock_capacity(session, needed)
    found = Preflight(
        tables=tuple(
            PlannedTable(t.relation, t.rows, t.total, others.on_table[t.oid])
            for t in sorted(tables, key=lambda t: (-t.total, t.relation))
        ),
        not_known=tuple(_unknown(planned)),
        sessions=others.sessions,
        longest=others.longest,
        oldest_transaction=others.oldest,
        hidden_sessions=others.hidden,
        dead_space=tuple(_dead_space(touched.writes, tables, widths)),
        max_dead_bytes=max_dead_bytes,
        locks=locks,
        lock_timeout_ms=float(lock_timeout) or None,
        yield_after_ms=yield_after_ms,
    )
    refuse_planned(planned, found, session)
    return found


def _touched(planned: Planned, session: Session) -> _Touched:
    """Resolve the names of operations, and ask the rules what each SQL statement locks."""
    lookup = Lookup(session.query)
    known = lookup.relations(planned.tables)
    found = _Touched({relation.oid for relation in known.values()})
    statements = [*planned.statements]
    for fill in planned.fills:
        if fill.table in known:
            text = f"UPDATE {fill.table} SET {fill.column} = NULL WHERE {fill.column} IS NULL"
            statements += parse(text, placeholders=False)
    for statement in statements:
        if statement.node is None or runs_user_code(statement.node, lookup):
            planned.unknown["SQL that runs code"] += 1
        if statement.node is not None:
            locked = statement_locks(statement.node, lookup)
            found.oids |= {lock.oid for lock in locked if lock.mode >= LockMode.RowShareLock}
            found.writes += written(statement, session)
    return found


def _tables(oids: Collection[int], session: Session) -> Sequence[Table]:
    """Return the tables; where somebody has one locked, its size as of the last VACUUM."""
    if not oids:
        return ()
    given = ["{" + ",".join(map(str, sorted(oids))) + "}"]
    try:
        with session.undone():
            rows = session.query(_TABLES.format(size=_MEASURED), given)
    except psycopg.errors.LockNotAvailable:
        rows = session.query(_TABLES.format(size=_PAGES), given)
    return [
        Table(
            int(oid or 0),
            name or "",
            None if count is None else int(count),
            int(total or 0),
            int(locks or 0),
            frozenset(json.loads(members or "[]")),
        )
        for oid, name, count, total, locks, members in rows
    ]


def _dead_space(
    writes: Iterable[Written], tables: Sequence[Table], widths: RowWidths
) -> Iterable[DeadSpace]:
    sums: dict[str, list[int]] = {}
    for each in writes:
        for table in tables:
            rows = table.rows if each.rows is None else each.rows
            if each.table in table.members and rows:
                total = sums.setdefault(table.relation, [0, 0])
                total[0] += rows
                total[1] += round(rows * widths.average(table.members, each.width))
    found = [DeadSpace(relation, *figures) for relation, figures in sums.items()]
    return sorted(found, key=lambda each: -each.size_bytes)


def _unknown(planned: Planned) -> Iterable[str]:
    for what, times in sorted(planned.unknown.items()):
        if times:
            yield f"{times:,} {what}" if what[0].isupper() else count(times, what)
