"""The budget of a dry run: its limits, and which migrations exceed them.

A figure is the expected value of the forecast for production if there is one, else the value
measured here. The message says which.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Literal

from django_confiture.conf import FailOn
from django_confiture.dry_run.results import (
    Exceeded,
    MigrationResult,
    OperationResult,
    Range,
    Report,
    StatementResult,
    TableResult,
)
from django_confiture.dry_run.results.blocking import blocking_of
from django_confiture.formatting import duration, size

_COUNTS: Mapping[str, Collection[str]] = {
    "failure": (),
    "danger": ("danger",),
    "warning": ("danger", "warning"),
}


@dataclass(frozen=True)
class Budget:
    """What a migration may cost at most; None means no limit."""

    fail_on: FailOn | None = None
    max_blocking_ms: float | None = None
    tables_ms: Mapping[str, float] = field(default_factory=dict)
    """Limits for single tables, which replace ``max_blocking_ms``."""
    max_wal_bytes: float | None = None
    max_duration_ms: float | None = None


def judged(report: Report, budget: Budget) -> Report:
    """Return the report with the limits that are exceeded; a failed run stays failed."""
    exceeded = tuple(
        each
        for migration in report.measured
        if not migration.rehearsed_first and migration.outcome == "passed"
        for each in _exceeded(migration, budget, forecast=report.production is not None)
    )
    outcome = "exceeded" if exceeded and report.outcome == "passed" else report.outcome
    return replace(report, exceeded=exceeded, outcome=outcome)


def unknown_tables(budget: Budget, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each table of the budget that is not in the database, and a sentence about it."""
    for name in budget.tables_ms:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            yield name, f"there is no table {name!r} in this database{hint}"


def _exceeded(migration: MigrationResult, budget: Budget, *, forecast: bool) -> Iterator[Exceeded]:
    yield from _findings(migration, budget)
    for table in migration.tables:
        yield from _blocking(migration, table, budget)
    estimate = migration.estimate if forecast else None
    if budget.max_duration_ms is not None:
        took = estimate.expected_ms if estimate is not None else migration.duration_ms
        if took > budget.max_duration_ms:
            longest = max(migration.operations, key=_longest(estimate), default=None)
            yield _over(
                Limit("max_duration", budget.max_duration_ms, duration(budget.max_duration_ms)),
                migration,
                longest,
                took,
                f"takes {_figure(took, estimate)}",
                forecast=estimate is not None,
            )
    wal = _wal(migration) if estimate is None else estimate.wal_bytes
    if budget.max_wal_bytes is not None and (wal or 0) > budget.max_wal_bytes:
        assert wal is not None
        most = max(migration.operations, key=lambda each: _wal_of(each.statements), default=None)
        words = f"writes {size(wal)} of WAL {_where(forecast=estimate is not None)}"
        yield _over(
            Limit("max_wal", budget.max_wal_bytes, size(round(budget.max_wal_bytes))),
            migration,
            most,
            wal,
            words,
            forecast=estimate is not None,
        )


@dataclass(frozen=True)
class Limit:
    """One limit of a budget: its name, its value, and the value in words."""

    name: Literal["max_blocking", "tables", "max_wal", "max_duration"]
    value: float
    shown: str


def _over(
    limit: Limit,
    migration: MigrationResult,
    operation: OperationResult | None,
    figure: float,
    words: str,
    *,
    forecast: bool,
    relation: str | None = None,
) -> Exceeded:
    flag = f"--table {relation}" if limit.name == "tables" else f"--{limit.name}".replace("_", "-")
    return Exceeded(
        limit.name,
        limit.value,
        figure,
        "forecast" if forecast else "measured",
        migration.label,
        operation.index if operation is not None else None,
        relation,
        f"{flag} {limit.shown}: {migration.label} {words}{_mostly(operation)}",
    )


def _mostly(operation: OperationResult | None) -> str:
    return "" if operation is None else f"; see operation {operation.index + 1}"


def _findings(migration: MigrationResult, budget: Budget) -> Iterator[Exceeded]:
    counts = _COUNTS[budget.fail_on or "failure"]
    for finding in migration.findings:
        if finding.severity in counts and finding.silenced is None:
            where = "" if finding.operation is None else f", operation {finding.operation + 1}"
            yield Exceeded(
                "fail_on",
                budget.fail_on or "failure",
                finding.id,
                finding.basis,
                migration.label,
                finding.operation,
                finding.relation,
                f"--fail-on {budget.fail_on}: {migration.label}{where}: {finding.message} "
                f"({finding.id}, {finding.severity})",
            )


def _blocking(migration: MigrationResult, table: TableResult, budget: Budget) -> Iterator[Exceeded]:
    own = budget.tables_ms.get(table.relation)
    limit = budget.max_blocking_ms if own is None else own
    blocking = blocking_of(table)
    found = table.production.writes_blocked if table.production is not None else None
    if limit is None or blocking.writes_ms <= limit:
        return
    yield _over(
        Limit("max_blocking" if own is None else "tables", limit, duration(limit)),
        migration,
        _first(migration, table.blocked_by),
        blocking.writes_ms,
        f"blocks {blocking.what} on {table.relation} for {_figure(blocking.writes_ms, found)}",
        forecast=blocking.forecast,
        relation=table.relation,
    )


def _figure(ms: float, found: Range | None) -> str:
    if found is None:
        return f"{duration(ms)} {_where(forecast=False)}"
    between = f"{duration(found.low_ms)} to {duration(found.high_ms)}"
    return f"about {duration(ms)} {_where(forecast=True)} ({between})"


def _where(*, forecast: bool) -> str:
    return "in production, by forecast" if forecast else "on this database, as measured"


def _first(migration: MigrationResult, statement: str) -> OperationResult | None:
    """Return the operation that sent a statement."""
    for operation in migration.operations:
        if statement in (each.text for each in operation.statements):
            return operation
    return None


def _longest(estimate: object) -> Callable[[OperationResult], float]:
    def expected(operation: OperationResult) -> float:
        if estimate is None:
            return operation.duration_ms
        return sum(
            each.estimate.expected_ms if each.estimate is not None else each.duration_ms
            for each in operation.statements
        )

    return expected


def _wal(migration: MigrationResult) -> int:
    around = _wal_of(migration.statements)
    return around + sum(_wal_of(each.statements) for each in migration.operations)


def _wal_of(statements: tuple[StatementResult, ...]) -> int:
    return sum(each.wal_bytes or 0 for each in statements)
