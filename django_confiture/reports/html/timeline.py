"""When which table is blocked: the drawing, and the same as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django_confiture.dry_run.results import (
    MigrationResult,
    OperationResult,
)
from django_confiture.formatting import count, duration, one_line, size
from django_confiture.reports.html.lanes import (
    BlockedRow,
    Lane,
    lanes_of,
    periods_of,
    row_of,
    statements_of,
)
from django_confiture.reports.html.scale import (
    LABELED,
    TIMED,
    MigrationColumn,
    Shape,
    Tick,
    columns,
    ticks,
)
from django_confiture.reports.html.text import percent
from django_confiture.reports.phrases.wording import clipped

MIGRATIONS, TABLES, OPERATIONS, ROWS = 40, 25, 12, 300
"""The most migrations that are drawn, operations of one migration, and rows of the table."""


@dataclass(frozen=True)
class Timeline:
    """The drawing and the table."""

    total: str
    ticks: tuple[Tick, ...]
    migrations: tuple[Shape, ...]
    operations: tuple[Shape, ...]
    lanes: tuple[Lane, ...]
    rows: tuple[BlockedRow, ...]
    notes: tuple[str, ...]
    production: bool


def timeline(migrations: Sequence[MigrationResult]) -> Timeline:
    """Return the drawing of the migrations; the n-th has the id ``m<n>``."""
    ran = [
        (f"m{number}", each)
        for number, each in enumerate(migrations)
        if each.outcome != "not_run" or each.error is not None
    ]
    longest = sorted(ran, key=lambda each: (each[1].error is None, -_longest(each[1])))
    kept = {target for target, _ in longest[:MIGRATIONS]}
    drawn = columns([each for each in ran if each[0] in kept])
    lanes = sorted(lanes_of(drawn), key=lambda each: each[0], reverse=True)
    periods = sorted(periods_of(ran), key=lambda each: -each.ms)[:ROWS]
    places = {target: place for place, (target, _) in enumerate(ran)}
    periods.sort(key=lambda each: (places[each.target], each.blocked.start_ms))
    return Timeline(
        total=duration(sum(column.span_ms for column in drawn)),
        ticks=tuple(ticks(drawn)),
        migrations=tuple(_migration(column) for column in drawn),
        operations=tuple(shape for column in drawn for shape in _operations(column)),
        lanes=tuple(lane for _, lane in lanes[:TABLES]),
        rows=tuple(map(row_of, periods)),
        notes=tuple(_notes(migrations, ran, drawn, len(lanes))),
        production=any(t.production is not None for _, m in ran for t in m.tables),
    )


def _longest(migration: MigrationResult) -> float:
    return max((table.writes_blocked_ms for table in migration.tables), default=0.0)


def _notes(
    migrations: Sequence[MigrationResult],
    ran: Sequence[tuple[str, MigrationResult]],
    drawn: Sequence[MigrationColumn],
    lanes: int,
) -> Iterator[str]:
    if len(drawn) < len(ran):
        yield (
            f"Drawn are the {len(drawn)} of {len(ran):,} migrations that block longest; "
            "the tables below have the others."
        )
    if lanes > TABLES:
        yield f"Drawn are the {TABLES} of {lanes:,} tables that are blocked longest."
    if any(len(column.migration.operations) > OPERATIONS for column in drawn):
        yield f"Of each migration, the {OPERATIONS} operations that took longest are drawn."
    if not_run := len(migrations) - len(ran):
        yield f"{count(not_run, 'migration')} did not run and {_are(not_run)} not drawn."
    periods = sum(1 for _ in periods_of(ran))
    if periods > ROWS:
        yield f"The table has the {ROWS:,} longest of {periods:,} stretches."


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _migration(column: MigrationColumn) -> Shape:
    migration = column.migration
    took = duration(migration.duration_ms)
    wal = sum(each.wal_bytes or 0 for each in statements_of(migration))
    facts = [("time", took)]
    if migration.commit_ms >= 1:
        facts.append(("commit", f"{duration(migration.commit_ms)} of it, for deferred constraints"))
    if migration.rows_affected:
        facts.append(("rows", f"{migration.rows_affected:,} written"))
    if wal:
        facts.append(("WAL", size(wal)))
    labeled, wide = column.width >= LABELED, column.width >= TIMED
    sign = "✗ " if migration.error is not None else ""
    return Shape(
        percent(column.x),
        percent(column.width),
        "migration failed" if migration.error is not None else "migration",
        f"{migration.label}{' (fails)' if migration.outcome == 'failed' else ''}, {took}",
        tuple(facts),
        column.target,
        text=f"{sign}{migration.version or migration.name[:4]}" if labeled else "",
        note=f" {took}" if wide else "",
        wide=wide,
    )


# Operations and hooks.


def _operations(column: MigrationColumn) -> Iterator[Shape]:
    migration = column.migration
    longest = sorted(migration.operations, key=lambda each: -each.duration_ms)[:OPERATIONS]
    for operation in sorted(longest, key=lambda each: each.index):
        x, width = column.place(operation.started_ms, operation.started_ms + operation.duration_ms)
        kind = "hook" if operation.hooks else "operation"
        yield Shape(
            x,
            width,
            kind,
            f"{migration.label}, operation {operation.index + 1}: {operation.description}, "
            f"{duration(operation.duration_ms)}",
            tuple(_operation_facts(operation)),
            column.target,
        )
    yield from _hooks(column)


def _operation_facts(operation: OperationResult) -> Iterator[tuple[str, str]]:
    yield "time", duration(operation.duration_ms)
    statements = operation.statements
    if statements:
        longest = max(statements, key=lambda each: each.duration_ms)
        yield "statement", clipped(one_line(longest.text), 300)
        if len(statements) > 1:
            yield "", f"the longest of {len(statements):,}"
    modes = {(lock.relation, lock.mode) for each in statements for lock in each.locks}
    if locks := [f"{mode} on {relation}" for relation, mode in sorted(modes)]:
        yield "locks", clipped(", ".join(locks), 300)
    if rows := sum(each.rows_written for each in statements):
        yield "rows", f"{rows:,} written"
    if wal := sum(each.wal_bytes or 0 for each in statements):
        yield "WAL", size(wal)
    for hook in operation.hooks:
        yield "hook", f"{hook.hook} ({hook.phase}) {hook.outcome}"


def _hooks(column: MigrationColumn) -> Iterator[Shape]:
    """Yield the hooks of the phases."""
    migration = column.migration
    for hook in migration.hooks:
        if hook.outcome == "skipped":
            continue
        x, width = column.place(hook.started_ms, hook.started_ms + hook.duration_ms)
        facts = [
            ("time", duration(hook.duration_ms)),
            ("phase", hook.phase),
            ("rows", f"{hook.rows_affected:,} written"),
            ("outcome", f"{hook.outcome}: {hook.reason}" if hook.reason else hook.outcome),
        ]
        label = f"{migration.label}, hook {hook.hook}, {duration(hook.duration_ms)}"
        yield Shape(x, width, "hook", label, tuple(facts), column.target)
