"""One query, prepared on the schema as it is now: its generic plan, or why there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg

from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.queries.prepared_forms import NAME, PreparedForm
from django_confiture.dry_run.running_code.sending.connection import OPEN
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parsing.identifiers import qualified_name

_PARAMETERS = f"""
SELECT pg_catalog.cardinality(parameter_types) FROM pg_catalog.pg_prepared_statements
WHERE name = '{NAME}'
"""


@dataclass(frozen=True)
class QueryPlan:
    """What the planner would do, for values that it does not know."""

    cost: float
    scans: tuple[str, ...]
    """How each table is read, in words."""
    relations: frozenset[str]
    """Quoted names of the tables that it comes to, those below views included."""
    indexed: frozenset[str]
    """Those of them in which an index finds the rows, however small they are."""

    @property
    def shape(self) -> str:
        """The plan in a line."""
        return f"{', '.join(self.scans) or 'no table is read'}; cost {self.cost:,.0f}"


def plan_of(session: Session, form: PreparedForm, *, timeout: timedelta) -> QueryPlan | Failure:
    """Prepare a query twice: as it is planned here, and without scans of whole tables.

    The first depends on the sizes of this database. The second tells where an index can serve.
    """
    limit = f"{round(timeout.total_seconds() * 1000)}ms"
    failure: Failure | None = None
    with session.undone():
        session.query(
            "SELECT pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true),"
            " pg_catalog.set_config('statement_timeout', $1, true),"
            " pg_catalog.set_config('lock_timeout', $1, true)",
            [limit],
        )
        try:
            chosen = _explained(session, form)
            session.query("SET LOCAL enable_seqscan = off")
            by_index = _explained(session, form)
        except psycopg.Error as error:
            if session.status not in OPEN:
                raise
            failure = Failure(error.sqlstate, error.diag.message_primary or str(error), form.text)
    if failure is not None:
        session.attempt(f"DEALLOCATE {NAME}")  # which no rollback does
        return failure
    nodes = list(_nodes(chosen))
    return QueryPlan(
        float(chosen["Total Cost"]),
        tuple(dict.fromkeys(filter(None, map(_in_words, nodes)))),
        frozenset(filter(None, map(_relation, nodes))),
        frozenset(_indexed(by_index)),
    )


def _explained(session: Session, form: PreparedForm) -> Mapping[str, Any]:
    session.query(form.sql)
    nulls = ", ".join(["NULL"] * int(session.value(_PARAMETERS) or 0))
    explain = f"EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE {NAME}"
    found = session.value(f"{explain} ({nulls})" if nulls else explain)
    session.query(f"DEALLOCATE {NAME}")
    plan: Mapping[str, Any] = json.loads(found)[0]["Plan"]
    return plan


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from _nodes(each)


def _relation(node: Mapping[str, Any]) -> str:
    name = node.get("Relation Name")
    return qualified_name(node.get("Schema", ""), name) if name else ""


def _in_words(node: Mapping[str, Any]) -> str:
    kind = node["Node Type"]
    if kind == "Bitmap Index Scan":
        return f"{kind} on {node['Index Name']}"
    if not kind.endswith("Scan") or "Relation Name" not in node:
        return ""
    using = f" using {node['Index Name']}" if "Index Name" in node else ""
    return f"{kind}{using} on {node['Relation Name']}"


def _indexed(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tables in which an index is given what it looks for."""
    for node in _nodes(plan):
        with_bitmap = node["Node Type"] == "Bitmap Heap Scan"
        read = _nodes(node) if with_bitmap else (node,)
        if "Relation Name" in node and any("Index Cond" in each for each in read):
            yield _relation(node)
