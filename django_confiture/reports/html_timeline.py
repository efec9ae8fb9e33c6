"""Which table is blocked when: the drawing, and the table that says the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django_confiture.dry_run.results import (
    Blocked,
    HookOutcome,
    MigrationResult,
    OperationResult,
    StatementResult,
    TableResult,
)
from django_confiture.dry_run.units import count, duration, size
from django_confiture.reports.html_scale import (
    LABELLED,
    TIMED,
    Column,
    Shape,
    Tick,
    columns,
    ticks,
)
from django_confiture.reports.html_text import percent
from django_confiture.reports.text_forecast import between
from django_confiture.reports.wording import clipped

MIGRATIONS, TABLES, OPERATIONS, ROWS = 40, 25, 12, 300
"""The most that is drawn; operations of one migration; rows of the table."""

_WHAT = {"reads": "reads and writes", "writes": "writes"}
_BEFORE = ("BEFORE_VALIDATION", "BEFORE_DDL")


@dataclass(frozen=True)
class Lane:
    """One table."""

    relation: str
    summary: str
    bars: tuple[Shape, ...]


@dataclass(frozen=True)
class Row:
    """One stretch, for the table."""

    migration: str
    target: str
    relation: str
    what: str
    when: str
    how_long: str
    by: str
    production: str


@dataclass(frozen=True)
class Timeline:
    """All of it."""

    total: str
    ticks: tuple[Tick, ...]
    migrations: tuple[Shape, ...]
    operations: tuple[Shape, ...]
    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    production: bool


def timeline(migrations: Sequence[MigrationResult]) -> Timeline:
    """Return the drawing of migrations; the n-th is the page's ``m<n>``."""
    ran = [
        (f"m{number}", each)
        for number, each in enumerate(migrations)
        if each.outcome != "not_run" or each.error is not None
    ]
    longest = sorted(ran, key=lambda each: (each[1].error is None, -_longest(each[1])))
    kept = {target for target, _ in longest[:MIGRATIONS]}
    drawn = columns([each for each in ran if each[0] in kept])
    lanes = sorted(_lanes(drawn), key=lambda each: -each[0])
    rows = sorted(_stretches(ran), key=lambda each: each[3].start_ms - each[3].end_ms)[:ROWS]
    places = {target: place for place, (target, _) in enumerate(ran)}
    rows.sort(key=lambda each: (places[each[0]], each[3].start_ms))
    return Timeline(
        total=duration(sum(column.span_ms for column in drawn)),
        ticks=tuple(ticks(drawn)),
        migrations=tuple(_migration(column) for column in drawn),
        operations=tuple(shape for column in drawn for shape in _operations(column)),
        lanes=tuple(lane for _, lane in lanes[:TABLES]),
        rows=tuple(_row(*each) for each in rows),
        notes=tuple(_notes(migrations, ran, drawn, len(lanes))),
        production=any(t.production is not None for _, m in ran for t in m.tables),
    )


def _longest(migration: MigrationResult) -> float:
    return max((table.writes_blocked_ms for table in migration.tables), default=0.0)


def _notes(
    migrations: Sequence[MigrationResult],
    ran: Sequence[tuple[str, MigrationResult]],
    drawn: Sequence[Column],
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
    stretches = sum(1 for _ in _stretches(ran))
    if stretches > ROWS:
        yield f"The table has the {ROWS:,} longest of {stretches:,} stretches."


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _migration(column: Column) -> Shape:
    migration = column.migration
    took = duration(migration.duration_ms)
    wal = sum(each.wal_bytes or 0 for each in _all(migration))
    facts = [("time", took)]
    if migration.commit_ms >= 1:
        facts.append(("commit", f"{duration(migration.commit_ms)} of it, for deferred constraints"))
    if migration.rows_affected:
        facts.append(("rows", f"{migration.rows_affected:,} written"))
    if wal:
        facts.append(("WAL", size(wal)))
    labelled, wide = column.width >= LABELLED, column.width >= TIMED
    sign = "✗ " if migration.error is not None else ""
    return Shape(
        percent(column.x),
        percent(column.width),
        "migration failed" if migration.error is not None else "migration",
        f"{migration.label}{' (fails)' if migration.outcome == 'failed' else ''}, {took}",
        tuple(facts),
        column.target,
        text=f"{sign}{migration.version or migration.name[:4]}" if labelled else "",
        note=f" {took}" if wide else "",
        wide=wide,
    )


def _all(migration: MigrationResult) -> Iterator[StatementResult]:
    for operation in migration.operations:
        yield from operation.statements
    yield from migration.statements


# Operations and hooks.


def _operations(column: Column) -> Iterator[Shape]:
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
        yield "statement", clipped(" ".join(longest.sql.split()), 300)
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


def _hooks(column: Column) -> Iterator[Shape]:
    """Yield the phases' hooks, which have a length but no time: where their phase is."""
    ran = [each for each in column.migration.hooks if each.outcome != "skipped"]
    before = [each for each in ran if each.phase in _BEFORE]
    after = [each for each in ran if each.phase not in _BEFORE]
    at = 0.0
    for hook in before:
        yield _hook(column, hook, at)
        at += hook.duration_ms
    at = max(at, column.span_ms - sum(each.duration_ms for each in after))
    for hook in after:
        yield _hook(column, hook, at)
        at += hook.duration_ms


def _hook(column: Column, hook: HookOutcome, at: float) -> Shape:
    x, width = column.place(at, at + hook.duration_ms)
    facts = [
        ("time", f"{duration(hook.duration_ms)}, drawn where its phase is"),
        ("phase", hook.phase),
        ("rows", f"{hook.rows_affected:,} written"),
        ("outcome", f"{hook.outcome}: {hook.reason}" if hook.reason else hook.outcome),
    ]
    label = f"{column.migration.label}, hook {hook.hook}, {duration(hook.duration_ms)}"
    return Shape(x, width, "hook", label, tuple(facts), column.target)


# Tables.


def _lanes(drawn: Sequence[Column]) -> Iterator[tuple[float, Lane]]:
    """Yield how long each table is blocked, and its lane."""
    found: dict[str, list[tuple[Column, TableResult, Blocked]]] = {}
    for column in drawn:
        for table in column.migration.tables:
            for blocked in table.blocked:
                found.setdefault(table.relation, []).append((column, table, blocked))
    for relation, stretches in found.items():
        bars = tuple(_bar(*each) for each in stretches)
        total = sum(each.end_ms - each.start_ms for _, _, each in stretches)
        yield total, Lane(relation, _summary(stretches), bars)


def _summary(stretches: Sequence[tuple[Column, TableResult, Blocked]]) -> str:
    said = []
    for what, words in (("reads", "reads and writes"), ("writes", "writes alone")):
        if ms := sum(b.end_ms - b.start_ms for _, _, b in stretches if b.what == what):
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


def _bar(column: Column, table: TableResult, blocked: Blocked) -> Shape:
    took = duration(blocked.end_ms - blocked.start_ms)
    x, width = column.place(blocked.start_ms, blocked.end_ms)
    facts = [("lock", table.strongest_lock)]
    for statement in _all(column.migration):
        if statement.sql == table.blocked_by:
            wal = f", {size(statement.wal_bytes)} of WAL" if statement.wal_bytes else ""
            facts.append(("time", f"{duration(statement.duration_ms)} for the statement{wal}"))
            break
    facts.append(("statement", clipped(" ".join(table.blocked_by.split()), 300)))
    if table.rows_scanned:
        facts.append(("reads", count(table.rows_scanned, "row")))
    if table.rows_written:
        facts.append(("writes", count(table.rows_written, "row")))
    if production := _production(table, blocked):
        facts.append(("in production", production))
    label = (
        f"{table.relation}: {_WHAT[blocked.what]} blocked for {took} by {column.migration.label}"
    )
    return Shape(
        x, width, blocked.what, label, tuple(f for f in facts if f[1]), column.target, text=took
    )


def _production(table: TableResult, blocked: Blocked) -> str:
    production = table.production
    if production is None:
        return ""
    found = production.reads_blocked if blocked.what == "reads" else production.writes_blocked
    return f"about {duration(found.expected_ms)} ({between(found)})" if found is not None else ""


def _stretches(
    ran: Sequence[tuple[str, MigrationResult]],
) -> Iterator[tuple[str, MigrationResult, TableResult, Blocked]]:
    for target, migration in ran:
        for table in migration.tables:
            for blocked in table.blocked:
                yield target, migration, table, blocked


def _row(target: str, migration: MigrationResult, table: TableResult, blocked: Blocked) -> Row:
    return Row(
        migration.label,
        target,
        table.relation,
        _WHAT[blocked.what],
        f"{duration(blocked.start_ms)} to {duration(blocked.end_ms)}",
        duration(blocked.end_ms - blocked.start_ms),
        clipped(" ".join(table.blocked_by.split()), 80),
        _production(table, blocked),
    )
