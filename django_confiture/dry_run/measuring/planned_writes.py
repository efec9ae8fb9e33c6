"""How many rows a statement would write, as PostgreSQL's planner estimates; nothing is run.

The planner counts a table's rows by its pages. Where most of those hold dead rows, such as earlier
dry runs leave, it counts several times too many; that is taken out again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from django_confiture.dry_run.sql.parser import Statement
from django_confiture.dry_run.sql.rewrite import with_numbers

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session

_SAVEPOINT = "confiture_explain"
_PREPARED = "SELECT FROM pg_catalog.pg_prepared_statements WHERE name = $1"
# The planner's figures for a whole table are read off this; $1 and $2: schema and name.
_EVERY_ROW = "SELECT pg_catalog.format('SELECT * FROM ONLY %I.%I', $1::text, $2::text)"

# reltuples is of the last VACUUM or ANALYZE; what this session has done of late is counted apart.
_LIVE = """
SELECT greatest(c.reltuples, pg_catalog.pg_stat_get_live_tuples(c.oid)
  + pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
  - pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND c.reltuples > 0
"""

_WRITING = {"insert_stmt", "update_stmt", "merge_stmt", "select_stmt"}
"""A SELECT can hold an UPDATE in its WITH clause."""


@dataclass(frozen=True)
class Written:
    """New versions of rows that a statement makes; rolled back, they are dead."""

    table: int
    """OID."""
    rows: int | None
    """None for every row of the table."""
    width: int | None = None
    """Bytes of a row, by the planner; None where that does not know the table's rows."""


def written(statement: Statement, session: Session) -> list[Written]:
    """Return what a statement would write.

    Where the planner can't tell, as the statement needs a column that the plan is still to add,
    an UPDATE counts as one of every row.
    """
    if statement.what not in _WRITING:
        return []
    sql, parameters = with_numbers(statement.sql) if statement.placeholders else (statement.sql, 0)
    try:
        with session.undone(_SAVEPOINT):
            return list(_found(_explain(sql, parameters, session), session))
    except psycopg.Error:
        return list(_every_row(statement, session))
    finally:
        if parameters:
            _deallocate(session)


def _deallocate(session: Session) -> None:
    """Forget what was prepared, which no rollback does."""
    with suppress(psycopg.Error):
        if session.query(_PREPARED, [_SAVEPOINT]):
            session.query(f"DEALLOCATE {_SAVEPOINT}")


def _every_row(statement: Statement, session: Session) -> Iterator[Written]:
    if statement.what == "update_stmt":
        table = statement.node.update_stmt.relation
        oid = _oid(table.schemaname, table.relname, session)
        if oid:
            yield Written(oid, None)


def _explain(sql: str, parameters: int, session: Session) -> Any:
    if not parameters:
        return json.loads(session.value(f"EXPLAIN (FORMAT JSON, VERBOSE) {sql}"))
    # The plan for any parameters; the option GENERIC_PLAN is there from PostgreSQL 16 on.
    nulls = ", ".join(["NULL"] * parameters)
    session.query("SELECT pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true)")
    session.query(f"PREPARE {_SAVEPOINT} AS {sql}")
    return json.loads(
        session.value(f"EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE {_SAVEPOINT}({nulls})")
    )


def _found(plans: Any, session: Session) -> Iterator[Written]:
    for node in _nodes([each["Plan"] for each in plans]):
        if node["Node Type"] != "ModifyTable" or node["Operation"] == "Delete":
            continue
        source = next(p for p in node["Plans"] if p["Parent Relationship"] == "Outer")
        oid = _oid(node["Schema"], node["Relation Name"], session)
        if oid:
            rows = round(source["Plan Rows"] / _inflation(source, session))
            if node["Operation"] == "Insert":
                yield Written(oid, rows, source["Plan Width"])
            else:  # whose plan has the columns that are set, and not the others
                target = _whole(node["Schema"], node["Relation Name"], session)
                yield Written(oid, rows, target.width if target is not None else None)


@dataclass(frozen=True)
class _Whole:
    """The size of a whole table as the planner sees it."""

    times_live: float
    """How many times as many rows as there are."""
    width: int


def _whole(schema: str, name: str, session: Session) -> _Whole | None:
    """Return a table's size as the planner sees it; None if it was never analyzed."""
    live = session.query(_LIVE, [schema, name])
    if not live or float(live[0][0] or 0) <= 0:
        return None
    (plan,) = _explain(session.value(_EVERY_ROW, [schema, name]), 0, session)
    return _Whole(plan["Plan"]["Plan Rows"] / float(live[0][0] or 1), plan["Plan"]["Plan Width"])


def _inflation(source: Any, session: Session) -> float:
    """Return how many times too many rows the planner expects from a plan, 1 where not too many.

    Of several tables, the one with the fewest dead rows counts: too many is safer than too few.
    """
    tables = {(n["Schema"], n["Relation Name"]) for n in _nodes([source]) if "Relation Name" in n}
    wholes = [_whole(schema, name, session) for schema, name in sorted(tables)]
    return max(1.0, min((w.times_live if w is not None else 1.0 for w in wholes), default=1.0))


def _oid(schema: str, name: str, session: Session) -> int:
    """Return a table's OID, 0 where it does not exist; no schema means the search path."""
    parts = [part for part in (schema, name) if part]
    form = ".".join(["%I"] * len(parts))
    given = ", ".join(f"${i + 1}::text" for i in range(len(parts)))
    found = session.value(
        f"SELECT pg_catalog.to_regclass(pg_catalog.format('{form}', {given}))::oid", parts
    )
    return int(found or 0)


def _nodes(plans: list[Any]) -> Iterator[Any]:
    for node in plans:
        yield node
        yield from _nodes(node.get("Plans", []))
