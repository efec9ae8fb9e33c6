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

from django_confiture.dry_run.sql.parsing.parser import Statement
from django_confiture.dry_run.sql.parsing.rewrite import with_numbers

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session

_NAME = "confiture_explain"
"""Of the savepoint, and of what is prepared."""
_EXPLAIN = "EXPLAIN (FORMAT JSON, VERBOSE)"
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
    """Return what a statement would write, by what the catalogs say now."""
    return PlannedWrites(session).of(statement)


@dataclass(frozen=True)
class _Whole:
    """The size of a whole table as the planner sees it."""

    times_live: float
    """How many times as many rows as there are."""
    width: int


class PlannedWrites:
    """Asks the planner about statements, while no table changes: what it says of one is kept."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._oids: dict[tuple[str, str], int] = {}
        self._wholes: dict[tuple[str, str], _Whole | None] = {}

    def of(self, statement: Statement) -> list[Written]:
        """Return what a statement would write.

        Where the planner can't tell, as the statement needs a column that the plan is still to
        add, an UPDATE counts as one of every row.
        """
        if statement.what not in _WRITING:
            return []
        sql, parameters = statement.sql, 0
        if statement.placeholders:
            sql, parameters = with_numbers(sql)
        try:
            return list(self._found(self._explain(sql, parameters)))
        except psycopg.Error:
            return list(self._every_row(statement))

    def _every_row(self, statement: Statement) -> Iterator[Written]:
        if statement.what == "update_stmt":
            table = statement.node.update_stmt.relation
            oid = self._oid(table.schemaname, table.relname)
            if oid:
                yield Written(oid, None)

    def _explain(self, sql: str, parameters: int = 0) -> Any:
        """Return the plan for any parameters, in one round trip that leaves no lock.

        The option GENERIC_PLAN is there from PostgreSQL 16 on.
        """
        text = f"{_EXPLAIN} {sql}"
        if parameters:
            nulls = ", ".join(["NULL"] * parameters)
            text = (
                "SET LOCAL plan_cache_mode = force_generic_plan;"
                f" PREPARE {_NAME} AS {sql}\n; {_EXPLAIN} EXECUTE {_NAME}({nulls})"
            )
        try:
            answers = self._session.script_undone(text, _NAME)
        finally:
            if parameters:
                self._deallocate()
        ((plan,),) = answers[-1]
        return json.loads(plan or "[]")

    def _deallocate(self) -> None:
        """Forget what was prepared, which no rollback does."""
        with suppress(psycopg.Error):
            if self._session.query(_PREPARED, [_NAME]):
                self._session.query(f"DEALLOCATE {_NAME}")

    def _found(self, plans: Any) -> Iterator[Written]:
        for node in _nodes([each["Plan"] for each in plans]):
            if node["Node Type"] != "ModifyTable" or node["Operation"] == "Delete":
                continue
            source = next(p for p in node["Plans"] if p["Parent Relationship"] == "Outer")
            schema, name = node["Schema"], node["Relation Name"]
            oid = self._oid(schema, name)
            if oid:
                rows = round(source["Plan Rows"] / self._inflation(source))
                if node["Operation"] == "Insert":
                    yield Written(oid, rows, source["Plan Width"])
                else:  # whose plan has the columns that are set, and not the others
                    target = self._whole(schema, name)
                    yield Written(oid, rows, target.width if target is not None else None)

    def _inflation(self, source: Any) -> float:
        """Return how many times too many rows the planner expects, 1 where not too many.

        Of several tables, the one with the fewest dead rows counts: too many is safer than too
        few.
        """
        nodes = [each for each in _nodes([source]) if "Relation Name" in each]
        tables = {(each["Schema"], each["Relation Name"]) for each in nodes}
        wholes = [self._whole(schema, name) for schema, name in sorted(tables)]
        return max(1.0, min((w.times_live if w is not None else 1.0 for w in wholes), default=1.0))

    def _whole(self, schema: str, name: str) -> _Whole | None:
        """Return a table's size as the planner sees it; None if it was never analyzed."""
        if (schema, name) not in self._wholes:
            self._wholes[schema, name] = self._read_whole(schema, name)
        return self._wholes[schema, name]

    def _read_whole(self, schema: str, name: str) -> _Whole | None:
        live = self._session.query(_LIVE, [schema, name])
        if not live or float(live[0][0] or 0) <= 0:
            return None
        (plan,) = self._explain(self._session.value(_EVERY_ROW, [schema, name]))
        return _Whole(
            plan["Plan"]["Plan Rows"] / float(live[0][0] or 1), plan["Plan"]["Plan Width"]
        )

    def _oid(self, schema: str, name: str) -> int:
        """Return a table's OID, 0 where it does not exist; no schema means the search path."""
        if (schema, name) not in self._oids:
            parts = [part for part in (schema, name) if part]
            form = ".".join(["%I"] * len(parts))
            given = ", ".join(f"${i + 1}::text" for i in range(len(parts)))
            found = self._session.value(
                f"SELECT pg_catalog.to_regclass(pg_catalog.format('{form}', {given}))::oid", parts
            )
            self._oids[schema, name] = int(found or 0)
        return self._oids[schema, name]


def _nodes(plans: list[Any]) -> Iterator[Any]:
    for node in plans:
        yield node
        yield from _nodes(node.get("Plans", []))
