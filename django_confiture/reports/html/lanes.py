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


def lanes_of(drawn: Sequence[MigrationColumn]) -> Iterator[tuple[tuple[float, float], Lane]]:
    """Yield for each table how long it is blocked, how long rows of it are, and its lane."""
    found: dict[str, list[tuple[MigrationColumn, TableResult, Blocked]]] = {}
    for column in drawn:
        for table in column.migration.tables:
            for blocked in _blocked(table):
                found.setdefault(table.relation, []).append((column, table, blocked))
    for relation, stretches in found.items():
        bars = tuple(_bar(*each) for each in stretches)
        worth = _total(stretches, "reads", "writes"), _total(stretches, "rows")
        yield worth, Lane(relation, _summary(stretches), bars)


def _blocked(table: TableResult) -> list[Blocked]:
    return sorted((*table.blocked, *table.row_locks), key=lambda each: each.start_ms)


def _total(stretches: Sequence[tuple[MigrationColumn, TableResult, Blocked]], *kinds: str) -> float:
    return sum(each.end_ms - each.start_ms for *_, each in stretches if each.what in kinds)


def _summary(stretches: Sequence[tuple[MigrationColumn, TableResult, Blocked]]) -> str:
    said = []
    for what, words in (
        ("reads", "reads and writes"),
        ("writes", "writes alone"),
        ("rows", "writes of some rows"),
    ):
        if ms := _total(stretches, what):
            said.append(f"{words} for {duration(ms)}")
    production = [
        (table.production.writes_blocked.expected_ms, column.migration.version)
        for column, table, _ in stretches
        if table.production is not None and table.production.writes_blocked is not None
    ]
    if production:
        longest, version = max(production)
        said.append(f"in production about {duration(longest)} in {version}")
    return "; ".join(said)


def _bar(column: MigrationColumn, table: TableResult, blocked: Blocked) -> Shape:
    took = duration(blocked.end_ms - blocked.start_ms)
    x, width = column.place(blocked.start_ms, blocked.end_ms)
    facts = list(_bar_facts(column.migration, table, blocked))
    label = (
        f"{table.relation}: {_WHAT[blocked.what]} blocked for {took} by {column.migration.label}"
    )
    return Shape(
        x, width, blocked.what, label, tuple(f for f in facts if f[1]), column.target, text=took
    )


def _bar_facts(
    migration: MigrationResult, table: TableResult, blocked: Blocked
) -> Iterator[tuple[str, str]]:
    if blocked.what == "rows":
        yield "lock", "on each row that it updated or deleted, until the transaction ends"
    else:
        yield "lock", table.strongest_lock
    statement = _by(migration, table, blocked)
    if statement is not None:
        wal = f", {size(statement.wal_bytes)} of WAL" if statement.wal_bytes else ""
        yield "time", f"{duration(statement.duration_ms)} for the statement{wal}"
    yield "statement", clipped(_text_by(migration, table, blocked), 300)
    if table.rows_scanned:
        yield "reads", count(table.rows_scanned, "row")
    if table.rows_written:
        yield "writes", count(table.rows_written, "row")
    if production := _production(table, blocked):
        yield "in production", production


def _by(migration: MigrationResult, table: TableResult, blocked: Blocked) -> StatementResult | None:
    """Return the statement that took the lock."""
    for statement in statements_of(migration):
        if blocked.what != "rows":
            if statement.text == table.blocked_by:
                return statement
        elif any(w.relation == table.relation and w.updated + w.deleted for w in statement.writes):
            return statement
    return None


def _text_by(migration: MigrationResult, table: TableResult, blocked: Blocked) -> str:
    if blocked.what != "rows":
        return one_line(table.blocked_by)
    statement = _by(migration, table, blocked)
    return one_line(statement.text) if statement is not None else ""


def _production(table: TableResult, blocked: Blocked) -> str:
    production = table.production
    if production is None:
        return ""
    found = {
        "reads": production.reads_blocked,
        "writes": production.writes_blocked,
        "rows": production.rows_locked,
    }[blocked.what]
    return f"about {duration(found.expected_ms)} ({between(found)})" if found is not None else ""


def stretches_of(
    ran: Sequence[tuple[str, MigrationResult]],
) -> Iterator[tuple[str, MigrationResult, TableResult, Blocked]]:
    """Yield each blocked period with the id of its migration in the page."""
    for target, migration in ran:
        for table in migration.tables:
            for blocked in _blocked(table):
                yield target, migration, table, blocked


def row_of(
    target: str, migration: MigrationResult, table: TableResult, blocked: Blocked
) -> BlockedRow:
    """Return a blocked period as a row of the table."""
    return BlockedRow(
        migration.label,
        target,
        table.relation,
        _WHAT[blocked.what],
        f"{duration(blocked.start_ms)} to {duration(blocked.end_ms)}",
        duration(blocked.end_ms - blocked.start_ms),
        clipped(_text_by(migration, table, blocked), 80),
        _production(table, blocked),
    )
