"""The preflight: what a dry run will touch, and which sessions are at work there."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import psycopg

from django_confiture.dry_run.locks.catalog import Query
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules import Lookup, statement_locks
from django_confiture.dry_run.locks.user_code import runs_user_code
from django_confiture.dry_run.measuring.planned_writes import PlannedWrites, Written
from django_confiture.dry_run.plan import lock_estimate
from django_confiture.dry_run.plan.other_sessions import Others, lock_capacity, others_at_work
from django_confiture.dry_run.plan.refusals import refuse_planned
from django_confiture.dry_run.results import DeadSpace, PlannedTable, Preflight
from django_confiture.dry_run.server.second_connection import backend_pid
from django_confiture.dry_run.server.side_channel import array
from django_confiture.dry_run.sql.parsing.parser import Statement, parse
from django_confiture.formatting import count

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.dead_space import RowWidths
    from django_confiture.dry_run.plan.planned import Fill, Planned
    from django_confiture.dry_run.server.side_channel import Session

_SAVEPOINT = "confiture_preflight"
_RUNS_CODE = "SQL that runs code"
_PATIENCE = "100ms"
"""How long the query of a table's size waits for a lock on it."""
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
class ExistingTable:
    """A table that exists, with its partitions; sizes in bytes."""

    oid: int
    relation: str
    rows: int | None
    total: int
    locks: int
    members: frozenset[int]


@dataclass(frozen=True)
class _Touched:
    """The existing tables that the plan touches."""

    oids: frozenset[int]
    writes: tuple[Written, ...]
    running_code: int
    """SQL statements that run code."""


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
        others = _others(tables, [backend_pid(session), *own_pids], session)
        existing = sum(table.locks for table in tables)
        needed = lock_estimate.AROUND + planned.new_locks + existing
        locks = lock_capacity(session, needed)
    found = Preflight(
        tables=tuple(_planned_tables(tables, others)),
        not_known=tuple(_unknown({**planned.unknown, _RUNS_CODE: touched.running_code})),
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
    refuse_planned(found, session)
    return found


def _others(tables: Sequence[ExistingTable], own_pids: Collection[int], session: Session) -> Others:
    roots = {oid: table.oid for table in tables for oid in table.members}
    return others_at_work(session, roots, own_pids)


def _planned_tables(tables: Sequence[ExistingTable], others: Others) -> Iterator[PlannedTable]:
    for table in sorted(tables, key=lambda table: (-table.total, table.relation)):
        at_work = others.on_table[table.oid]
        yield PlannedTable(table.relation, table.rows, table.total, at_work)


def _touched(planned: Planned, session: Session) -> _Touched:
    """Resolve the names of operations, and ask the rules what each SQL statement locks."""
    lookup, planner = Lookup(_kept(session.query)), PlannedWrites(session)
    known = lookup.relations(planned.tables)
    oids = {relation.oid for relation in known.values()}
    writes: list[Written] = []
    running_code = 0
    for statement in (*planned.statements, *_updates(planned.fills, known.keys())):
        if statement.node is None or runs_user_code(statement.node, lookup):
            running_code += 1
        if statement.node is not None:
            locked = statement_locks(statement.node, lookup)
            oids |= {lock.oid for lock in locked if lock.mode >= LockMode.RowShareLock}
            writes += planner.of(statement)
    return _Touched(frozenset(oids), tuple(writes), running_code)


def _kept(query: Query) -> Query:
    """Return a query that keeps its answers: nothing changes before the first migration."""
    ask = cache(query)
    return lambda text, params: ask(text, tuple(params))


def _updates(fills: Iterable[Fill], tables: Collection[str]) -> Iterator[Statement]:
    for fill in fills:
        if fill.table in tables:
            text = f"UPDATE {fill.table} SET {fill.column} = NULL WHERE {fill.column} IS NULL"
            yield from parse(text, placeholders=False)


def _tables(oids: Collection[int], session: Session) -> Sequence[ExistingTable]:
    """Return the tables; where another session has one locked, its size as of the last VACUUM."""
    if not oids:
        return ()
    given = [array(sorted(oids))]
    try:
        with session.undone():
            rows = session.query(_TABLES.format(size=_MEASURED), given)
    except psycopg.errors.LockNotAvailable:
        rows = session.query(_TABLES.format(size=_PAGES), given)
    return [
        ExistingTable(
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
    writes: Iterable[Written], tables: Sequence[ExistingTable], widths: RowWidths
) -> list[DeadSpace]:
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


def _unknown(times: Mapping[str, int]) -> Iterator[str]:
    for what, number in sorted(times.items()):
        if number:
            yield f"{number:,} {what}" if what[0].isupper() else count(number, what)
