"""Production's most frequent queries along a plan: what no longer prepares, or loses its index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg

from django_confiture.dry_run.results.deploy import Break, Regressed
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.models.touched import OperationStep, altered_by
from django_confiture.dry_run.running_code.queries.prepared_forms import (
    NAME,
    PreparedForm,
    form_of,
)
from django_confiture.dry_run.running_code.queries.query_plans import QueryPlan, plan_of
from django_confiture.dry_run.running_code.releases import TIMEOUT
from django_confiture.dry_run.running_code.sending.connection import OPEN
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parsing.nodes import quoted_relation, range_vars_in
from django_confiture.dry_run.sql.parsing.parser import parse
from django_confiture.dry_run.sql.texts.query_texts import without_values
from django_confiture.production.stats import QueryStats

_TIMES = 10
"""From so many times the cost on, a plan has become worse."""


@dataclass(frozen=True)
class _Known:
    """A query that was prepared before the plan."""

    query: QueryStats
    form: PreparedForm
    plan: QueryPlan
    relations: Mapping[str, str]
    """Quoted name → as the reports name it."""


class ProductionQueries:
    """Prepares the queries of a stats file before a plan, and again after its steps."""

    def __init__(
        self, session: Session, catalog: TableCatalog, queries: Sequence[QueryStats]
    ) -> None:
        self._session = session
        self._catalog = catalog
        self._queries = queries
        self._known: list[_Known] = []
        self._over: set[str] = set()
        """The ids of what is broken or worse by now: the first step counts."""
        self._undecided: dict[str, None] = {}

    def start(self) -> None:
        """Prepare everything before the plan."""
        for query in self._queries:
            if without_values(query.text) is None:
                continue  # a file can be edited: only a single query is ever sent
            form = PreparedForm(query.text)
            plan = self._plan(form)
            if not isinstance(plan, QueryPlan):
                form = form_of(query.text, self._prepared)
                plan = self._plan(form) if form != PreparedForm(query.text) else plan
            if isinstance(plan, QueryPlan):
                names = {*_named_in(query.text), *plan.relations}
                found = self._catalog.named(sorted(names))
                shown = {name: each.shown for name, each in found.items()}
                self._known.append(_Known(query, form, plan, shown))

    def _plan(self, form: PreparedForm) -> QueryPlan | Failure:
        return plan_of(self._session, form, timeout=TIMEOUT)

    def _prepared(self, sql: str) -> psycopg.Error | None:
        """Prepare a query and forget it again; return why that failed."""
        try:
            with self._session.undone():
                self._session.query(sql)
        except psycopg.Error as error:
            if self._session.status not in OPEN:
                raise
            return error
        self._session.query(f"DEALLOCATE {NAME}")
        return None

    @property
    def prepared(self) -> int:
        """How many could be prepared before the plan."""
        return len(self._known)

    def not_checked(self) -> Iterator[str]:
        """Yield how many could not be prepared, and what was not found out."""
        left = len(self._queries) - len(self._known)
        if left:
            yield (
                f"{left} of {len(self._queries)} queries of production: they can't be prepared on"
                " this database before the plan"
            )
        yield from self._undecided

    def prepare_after(
        self, migration: str, steps: Sequence[OperationStep]
    ) -> tuple[list[Break], list[Regressed]]:
        """Prepare what the steps touch again; return what fails and what has become worse."""
        breaks: list[Break] = []
        regressed: list[Regressed] = []
        for known in self._known:
            touched = self._touched(known, steps)
            if touched is None or known.query.id in self._over:
                continue
            now = self._plan(known.form)
            if isinstance(now, QueryPlan):
                worse = _regressed(known, now, touched)
                if worse is None:
                    continue
                regressed.append(worse)
            elif now.gave_up:
                self._undecided[f"a query of production on {touched}: {now.error}"] = None
                continue
            else:
                breaks.append(_break(known, now, touched, migration, steps))
            self._over.add(known.query.id)
        return breaks, regressed

    def _touched(self, known: _Known, steps: Sequence[OperationStep]) -> str | None:
        """Return the first relation of a query that the steps may have changed, None for none."""
        altered = altered_by(steps)
        own = sorted(set(known.relations.values()))
        if any(step.outside for step in steps):
            own.sort(key=lambda name: name not in altered)
            return own[0] if own else None
        return next((name for name in own if name in altered), None)


def _named_in(text: str) -> Iterator[str]:
    for statement in parse(text, placeholders=False):
        if statement.node is not None:
            yield from map(quoted_relation, range_vars_in(statement.node))


def _break(
    known: _Known, failure: Failure, table: str, migration: str, steps: Sequence[OperationStep]
) -> Break:
    changing = [step.operation for step in steps if table in step.altered]
    return Break(
        None,
        table,
        "query",
        failure.sqlstate,
        failure.error,
        known.query.text,
        migration,
        changing[0] if len(changing) == 1 else None,
    )


def _regressed(known: _Known, now: QueryPlan, touched: str) -> Regressed | None:
    lost = sorted((known.plan.indexed - now.indexed) & now.relations)
    if lost:
        relation = known.relations.get(lost[0], touched)
        why = f"no index of {relation} finds its rows now"
    elif now.cost >= _TIMES * known.plan.cost > 0:
        relation, why = touched, f"it costs {now.cost / known.plan.cost:,.0f} times as much"
    else:
        return None
    query = known.query
    return Regressed(query.text, query.calls_per_second, relation, why, known.plan.shape, now.shape)
