"""``run_queries``: queries of the application that must still work, and their plans and times."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import Any, ClassVar

import psycopg

from django_confiture import conf
from django_confiture.exceptions import HookVeto
from django_confiture.formatting import duration
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin import options
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.options import Option, optional
from django_confiture.hooks.builtin.tables import rows

_READINGS = "run_queries"
"""The context's key of what was read before the migration, by name."""

_NOISE_MS = 10.0
"""A query that takes less says nothing about being slower."""


@dataclass(frozen=True)
class Query:
    """A query, and its parameters as psycopg takes them."""

    sql: str
    params: tuple[Any, ...] | Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Reading:
    """How a query did at one moment."""

    ms: float
    plan: tuple[str, ...]
    """Its scans and joins, as EXPLAIN names them, from the top down."""
    error: str = ""
    """Why it failed; empty where it worked."""

    @property
    def scanned(self) -> set[str]:
        """The tables that it reads from end to end."""
        return {step.removeprefix("Seq Scan on ") for step in self.plan if step.startswith("Seq ")}

    @property
    def indexed(self) -> set[str]:
        """The tables that it reads through an index."""
        return {step.rpartition(" on ")[2] for step in self.plan if "Index" in step}


def queries(value: object, name: str) -> dict[str, Query]:
    """Read a dictionary: name → SQL, or ``{"sql": …, "params": …}``."""
    return options.mapping_of(_query)(value, name)


def _query(value: object, name: str) -> Query:
    if isinstance(value, str) and value:
        return Query(value)
    if isinstance(value, Mapping) and value.keys() <= {"sql", "params"}:
        params = value.get("params")
        if params is None or isinstance(params, list | tuple | Mapping):
            given = tuple(params) if isinstance(params, list) else params
            return Query(options.text(value.get("sql"), f"{name}['sql']"), given)
    raise conf.SettingError(f"{name} is {value!r}", 'write SQL, or {"sql": ..., "params": [...]}')


class RunQueries(ShippedHook):
    """Runs queries of the application, which have to work after the migration.

    Listed in ``BEFORE_DDL`` and in ``AFTER_VALIDATION``, it compares plans and times, too. Each
    query runs once in each phase, in a savepoint that is rolled back, so it may write. One that
    fails before the migration may be of the new code: it only has to work afterwards.

    Options, of which ``queries`` is needed:

    ``queries``
        A dictionary: name → SQL, or ``{"sql": …, "params": …}``.
    ``max_time``
        A duration: the longest that a query may take; it is canceled then, which is a veto.
    ``max_slowdown``
        How many times as long a query may take afterwards, such as 3; times below 10 ms don't
        count. Without it, a slower query is only reported.
    ``keep_indexes``
        True: a query that read a table through an index, and then reads it from end to end, is a
        veto.

    Times and plans before and after are in the result's ``stats``. In a dry run it does the same;
    the plans are those of what the dry run's database has in it. It runs forward only: backwards
    the queries are those of the old code.
    """

    registered_name = "run_queries"
    phase = HookPhase.AFTER_VALIDATION
    directions: ClassVar[tuple[str, ...]] = ("forward",)

    queries = Option(queries)
    max_time = Option(options.duration, default="30s")
    max_slowdown = Option(optional(options.number), default=None)
    keep_indexes = Option(options.flag, default=False)

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Read each query; before the migration remember, afterwards compare."""
        before: Mapping[str, Reading] = context.get_stat(_READINGS) or {}
        now: dict[str, Reading] = {}
        for done, (name, query) in enumerate(self.queries.items()):
            context.progress(done, len(self.queries))
            now[name] = _explain_and_run(conn, query, self.max_time)
        if context.phase in (HookPhase.BEFORE_VALIDATION.name, HookPhase.BEFORE_DDL.name):
            context.set_stat(_READINGS, {**before, **now})
        elif problems := [
            each for name in now for each in self._problems(name, before.get(name), now[name])
        ]:
            raise HookVeto(f"After {context.label}, {'; '.join(problems)}.")
        return self.result(
            queries={name: _compared(before.get(name), reading) for name, reading in now.items()}
        )

    def _problems(self, name: str, before: Reading | None, now: Reading) -> Iterator[str]:
        if now.error:
            yield f"the query {name!r} fails: {now.error}"
            return
        if before is None or before.error:
            return
        lost = sorted(before.indexed & (now.scanned - before.scanned))
        if self.keep_indexes and lost:
            yield f"the query {name!r} reads {', '.join(lost)} from end to end, not by an index"
        slowest = (self.max_slowdown or 0) * max(before.ms, _NOISE_MS)
        if self.max_slowdown is not None and now.ms > slowest:
            took = f"and took {duration(before.ms)} before"
            yield f"the query {name!r} takes {duration(now.ms)}, {took}"


def _explain_and_run(conn: psycopg.Connection[Any], query: Query, limit: timedelta) -> Reading:
    """Explain and run a query, in a savepoint that is rolled back either way."""
    plan: tuple[str, ...] = ()
    started = perf_counter()
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(
                "SELECT pg_catalog.set_config('statement_timeout', %s, true)",
                [conf.milliseconds(limit)],
            )
            plan = _plan(conn, query)
            started = perf_counter()
            rows(conn, query.sql, query.params)
            ms = (perf_counter() - started) * 1000
    except psycopg.errors.QueryCanceled:
        ms = (perf_counter() - started) * 1000
        return Reading(ms, plan, f"it takes longer than {duration(limit.total_seconds() * 1000)}")
    except psycopg.Error as error:
        text = error.diag.message_primary or str(error).strip().partition("\n")[0]
        return Reading(0.0, plan, text)
    return Reading(ms, plan)


def _plan(conn: psycopg.Connection[Any], query: Query) -> tuple[str, ...]:
    ((found,),) = rows(conn, f"EXPLAIN (FORMAT JSON) {query.sql}", query.params)
    document = json.loads(found) if isinstance(found, str) else found
    return tuple(_steps(document[0]["Plan"]))


def _steps(node: Mapping[str, Any]) -> Iterator[str]:
    step = node["Node Type"]
    if "Index Name" in node:
        step += f" using {node['Index Name']}"
    if "Relation Name" in node:
        yield f"{step} on {node['Relation Name']}"
    elif "Index Name" not in node:
        yield step
    for each in node.get("Plans", ()):
        yield from _steps(each)


def _compared(before: Reading | None, now: Reading) -> dict[str, Any]:
    found: dict[str, Any] = {"ms": round(now.ms, 1), "plan": list(now.plan), "error": now.error}
    if before is not None:
        found |= {"before_ms": round(before.ms, 1), "before_plan": list(before.plan)}
    return found
