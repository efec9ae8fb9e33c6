"""One lane per table: when it is blocked, or rows of it are, and by what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django_confiture.dry_run.results import (
    Blocked,
    MigrationResult,
    StatementResult,
    TableResult,
)
from django_confiture.formatting import count, duration, one_line, size
from django_confiture.reports.html.scale import MigrationColumn, Shape
from django_confiture.reports.phrases.forecast import between
from django_confiture.reports.phrases.wording import clipped

_WHAT = {"reads": "reads and writes", "writes": "writes", "rows": "writes of some rows"}


@dataclass(frozen=True)
class Lane:
    """One table."""

    relation: str
    summary: str
    bars: tuple[Shape, ...]


@dataclass(frozen=True)
class BlockedRow:
    """One blocked period, as a row of the table."""

    migration: str
    target: str
    relation: str
    what: str
    when: str
    how_long: str
    by: str
    production: str


def statements_of(migration: MigrationResult) -> Iterator[StatementResult]:
    """Yield all statements, those of operations first."""
    for operation in migration.operations:
        yield from operation.statements
    yield from migration.statements


@dataclass(frozen=True)
class BlockedPeriod:
    """When a migration blocks a table, or rows of it."""

    migration: MigrationResult
    target: str
    """The id of the migration in the page."""
    table: TableResult
    blocked: Blocked

    @property
    def ms(self) -> float:
        """How long it is."""
        return self.blocked.end_ms - self.blocked.start_ms

    @property
    def statement(self) -> StatementResult | None:
        """The statement that took the lock."""
        for statement in statements_of(self.migration):
            if self.blocked.what != "rows":
                if statement.text == self.table.blocked_by:
                    return statement
            elif any(
                each.relation == self.table.relation and each.updated + each.deleted
                for each in statement.writes
            ):
                return statement
        return None

    @property
    def text(self) -> str:
        """The statement's text, in one line."""
        if self.blocked.what != "rows":
            return one_line(self.table.blocked_by)
        return one_line(self.statement.text) if self.statement is not None else ""

    @property
    def production(self) -> str:
        """How long it will be in production; ``""`` if there is no forecast."""
        production = self.table.production
        if production is None:
            return ""
        found = {
            "reads": production.reads_blocked,
            "writes": production.writes_blocked,
            "rows": production.rows_locked,
        }[self.blocked.what]
        return f"about {duration(found.expected_ms)} ({between(found)})" if found else ""


def periods_of(ran: Sequence[tuple[str, MigrationResult]]) -> Iterator[BlockedPeriod]:
    """Yield each blocked period of the migrations, given with their ids in the page."""
    for target, migration in ran:
        for table in migration.tables:
            blocked = sorted((*table.blocked, *table.row_locks), key=lambda each: each.start_ms)
            for each in blocked:
                yield BlockedPeriod(migration, target, table, each)


def lanes_of(drawn: Sequence[MigrationColumn]) -> Iterator[tuple[tuple[float, float], Lane]]:
    """Yield for each table how long it is blocked, how long rows of it are, and its lane."""
    columns = {column.target: column for column in drawn}
    found: dict[str, list[BlockedPeriod]] = {}
    for period in periods_of([(column.target, column.migration) for column in drawn]):
        found.setdefault(period.table.relation, []).append(period)
    for relation, periods in found.items():
        bars = tuple(_bar(columns[each.target], each) for each in periods)
        worth = _total(periods, "reads", "writes"), _total(periods, "rows")
        yield worth, Lane(relation, _summary(periods), bars)


def _total(periods: Sequence[BlockedPeriod], *kinds: str) -> float:
    return sum(each.ms for each in periods if each.blocked.what in kinds)


def _summary(periods: Sequence[BlockedPeriod]) -> str:
    said = []
    for what, words in {**_WHAT, "writes": "writes alone"}.items():
        if ms := _total(periods, what):
            said.append(f"{words} for {duration(ms)}")
    production = [
        (each.table.production.writes_blocked.expected_ms, each.migration.version)
        for each in periods
        if each.table.production is not None and each.table.production.writes_blocked is not None
    ]
    if production:
        longest, version = max(production)
        said.append(f"in production about {duration(longest)} in {version}")
    return "; ".join(said)


def _bar(column: MigrationColumn, period: BlockedPeriod) -> Shape:
    blocked, took = period.blocked, duration(period.ms)
    x, width = column.place(blocked.start_ms, blocked.end_ms)
    facts = tuple(each for each in _bar_facts(period) if each[1])
    label = (
        f"{period.table.relation}: {_WHAT[blocked.what]} blocked for {took} by "
        f"{period.migration.label}"
    )
    return Shape(x, width, blocked.what, label, facts, period.target, text=took)


def _bar_facts(period: BlockedPeriod) -> Iterator[tuple[str, str]]:
    table = period.table
    if period.blocked.what == "rows":
        yield "lock", "on each row that it updated or deleted, until the transaction ends"
    else:
        yield "lock", table.strongest_lock
    if (statement := period.statement) is not None:
        wal = f", {size(statement.wal_bytes)} of WAL" if statement.wal_bytes else ""
        yield "time", f"{duration(statement.duration_ms)} for the statement{wal}"
    yield "statement", clipped(period.text, 300)
    if table.rows_scanned:
        yield "reads", count(table.rows_scanned, "row")
    if table.rows_written:
        yield "writes", count(table.rows_written, "row")
    yield "in production", period.production


def row_of(period: BlockedPeriod) -> BlockedRow:
    """Return a blocked period as a row of the table."""
    start_ms, end_ms = period.blocked.start_ms, period.blocked.end_ms
    return BlockedRow(
        period.migration.label,
        period.target,
        period.table.relation,
        _WHAT[period.blocked.what],
        f"{duration(start_ms)} to {duration(end_ms)}",
        duration(period.ms),
        clipped(period.text, 80),
        period.production,
    )
