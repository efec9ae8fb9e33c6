"""One migration in the HTML report: what it did, what that costs, what to do instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import cleandoc

from django.utils.safestring import SafeString

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.results import (
    Finding,
    HookOutcome,
    MigrationResult,
    OperationResult,
    StatementResult,
    TableLock,
    TableResult,
)
from django_confiture.formatting import count, duration, listed, size
from django_confiture.reports.html.text import BADGES, WORDS, effect, in_element
from django_confiture.reports.phrases import forecast, headline, schema
from django_confiture.reports.phrases.verdicts import Mark, verdict, worth
from django_confiture.reports.phrases.wording import clipped, first_line

REHEARSED = {"substituted": "In another form", "not_rehearsed": "Not rehearsed", "exact": "Note"}

_STATEMENTS, _CHARACTERS = 500, 4_000
"""Statements of one migration that are shown, and letters of one."""

_OPEN = 20
"""Migrations that are open when the page is."""


@dataclass(frozen=True)
class Shown:
    """A finding, and the code to write instead where no finding before it had the same."""

    finding: Finding
    where: str
    advice: str


@dataclass(frozen=True)
class Statement:
    """One statement."""

    sql: SafeString
    took: str
    facts: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Operation:
    """One operation."""

    number: int
    description: str
    took: str
    where: str
    rehearsed: str
    reason: str
    hooks: tuple[str, ...]
    statements: tuple[Statement, ...]
    left_out: int


@dataclass(frozen=True)
class Table:
    """What is done to one table."""

    relation: str
    lock: str
    reads: str
    writes: str
    rows: str
    production: str


@dataclass(frozen=True)
class Details:
    """One migration."""

    target: str
    migration: MigrationResult
    mark: Mark
    badge: tuple[str, str]
    words: SafeString
    """Markup: names in it are escaped."""
    worth: int
    took: str
    commit: str
    where: str
    findings: str
    open: bool
    shown: tuple[Shown, ...]
    silenced: tuple[Finding, ...]
    operations: tuple[Operation, ...]
    around: tuple[Statement, ...]
    hooks: tuple[str, ...]
    tables: tuple[Table, ...]
    changes: tuple[tuple[str, str], ...]
    message: str
    """Why it fails."""
    rows: str
    """Which rows stand in the way."""
    brief: bool = False
    """Without statements and code, of which the page would become too big."""

    def shortened(self) -> Details:
        """Return the same without statements and code."""
        return replace(
            self,
            brief=True,
            around=(),
            operations=(),
            changes=(),
            shown=tuple(replace(each, advice="") for each in self.shown),
        )


def details(migration: MigrationResult, *, target: str, opened: bool) -> Details:
    """Return what the page has to say of a migration."""
    mark, words = verdict(migration, WORDS)
    line = f", line {migration.line}" if migration.line else ""
    operations = tuple(_operations(migration))
    return Details(
        target=target,
        migration=migration,
        mark=mark,
        badge=BADGES[mark],
        words=SafeString(words),
        worth=worth(migration),
        took=duration(migration.duration_ms),
        commit=duration(migration.commit_ms) if migration.commit_ms >= 1 else "",
        where=f"{migration.file}{line}" if migration.file else "",
        findings=headline.severities([migration]),
        open=opened,
        shown=tuple(_findings(migration)),
        silenced=tuple(each for each in migration.findings if each.silenced is not None),
        operations=operations,
        around=tuple(_statement(each, migration) for each in migration.statements[:20]),
        hooks=tuple(_hook(each) for each in migration.hooks),
        tables=tuple(_table(each) for each in migration.tables),
        changes=tuple(schema.lines(migration.schema_changes)),
        message=first_line(migration.error.message) if migration.error is not None else "",
        rows=rows_at_fault(migration),
    )


def rows_at_fault(migration: MigrationResult) -> str:
    """Say which rows stand in the way."""
    rows = migration.error.violations if migration.error is not None else None
    if rows is None:
        return ""
    keys = f", such as {', '.join(rows.keys)}" if rows.keys else ""
    return f"{count(rows.count, 'row')} of {rows.relation}{keys}"


def _findings(migration: MigrationResult) -> Iterator[Shown]:
    lines = {each.index: each.line for each in migration.operations}
    seen: set[str] = set()
    for finding in headline.counted(migration.findings):
        number = finding.operation
        where = "" if number is None else f"operation {number + 1}"
        if number is not None and lines.get(number):
            where += f", line {lines[number]}"
        advice = "" if finding.advice in seen else finding.advice
        seen.add(finding.advice)
        yield Shown(finding, where, advice)


def _operations(migration: MigrationResult) -> Iterator[Operation]:
    left = _STATEMENTS
    for operation in migration.operations:
        chosen = _longest(operation.statements, left)
        left -= len(chosen)
        yield _operation(operation, chosen, migration)


def _longest(statements: Sequence[StatementResult], room: int) -> list[StatementResult]:
    """Return as many as there is room for, those that took longest, in order."""
    if len(statements) <= room:
        return list(statements)
    order = sorted(range(len(statements)), key=lambda at: -statements[at].duration_ms)
    return [statements[at] for at in sorted(order[:room])]


def _operation(
    operation: OperationResult,
    chosen: Sequence[StatementResult],
    migration: MigrationResult,
) -> Operation:
    return Operation(
        operation.index + 1,
        operation.description,
        duration(operation.duration_ms),
        f"line {operation.line}" if operation.line else "",
        REHEARSED[operation.rehearsed] if operation.reason else "",
        operation.reason,
        tuple(_hook(each) for each in operation.hooks),
        tuple(_statement(each, migration) for each in chosen),
        len(operation.statements) - len(chosen),
    )


def _hook(hook: HookOutcome) -> str:
    name = f"{hook.hook} ({hook.phase})"
    if hook.outcome == "completed":
        return f"{name}: {count(hook.rows_affected, 'row')} in {duration(hook.duration_ms)}"
    return f"{name} {hook.outcome}{': ' if hook.reason else ''}{hook.reason}"


def _statement(statement: StatementResult, migration: MigrationResult) -> Statement:
    return Statement(
        in_element(clipped(cleandoc(statement.sql), _CHARACTERS)),
        duration(statement.duration_ms),
        tuple(_facts(statement, migration)),
        statement.note,
    )


def _facts(statement: StatementResult, migration: MigrationResult) -> Iterator[str]:
    if statement.executions > 1:
        yield f"{statement.executions:,} times"
    if statement.rows_written:
        yield f"writes {count(statement.rows_written, 'row')}"
    for scan in statement.scans:
        rows = "every row" if scan.rows is None else count(scan.rows, "row")
        passes = f" in {scan.passes} passes" if scan.passes > 1 else ""
        yield f"reads {scan.relation}: {rows}{passes}"
    if statement.rewrites:
        yield f"writes {listed(statement.rewrites)} anew"
    if statement.indexes_built:
        yield f"builds {listed(statement.indexes_built)}"
    if statement.constraints:
        yield f"checks {listed(statement.constraints)}"
    if (statement.wal_bytes or 0) >= 1024:
        yield f"{size(statement.wal_bytes or 0)} of WAL"
    yield from _locks(statement, {table.relation for table in migration.tables})
    if statement.sampled is not None:
        low, high = statement.sampled.rows
        yield (
            f"grows with its rows to the power of {statement.sampled.exponent:.2f}, by samples of "
            f"{low:,} and {high:,}"
        )
    estimate = statement.estimate if forecast.made(migration) is not None else None
    if estimate is not None and estimate.high_ms >= 1:
        between = forecast.between(estimate)
        yield f"in production about {duration(estimate.expected_ms)} ({between})"


def _locks(statement: StatementResult, tables: set[str]) -> Iterator[str]:
    strongest = {each.relation: each for each in sorted(statement.locks, key=_mode)}
    for lock in strongest.values():
        if lock.relation in tables and _mode(lock) >= LockMode.RowExclusiveLock:
            does = f", {effect(lock)}" if effect(lock) else ""
            held = ", held since before" if lock.inherited else ""
            yield f"{lock.mode} on {lock.relation}{does}{held}"


def _mode(lock: TableLock) -> LockMode:
    return LockMode[lock.mode]


def _table(table: TableResult) -> Table:
    rows = []
    if table.rewritten:
        rows.append("written anew")
    if table.rows_scanned is None:
        rows.append("every row read")
    elif table.rows_scanned:
        rows.append(f"{count(table.rows_scanned, 'row')} read")
    if table.rows_written:
        rows.append(f"{count(table.rows_written, 'row')} written")
    reads, writes = forecast.blocked(table) if table.production is not None else ("", "")
    same = "reads and writes" if reads else "writes"
    said = f"{same} {writes}" if reads in ("", writes) else f"writes {writes}, reads {reads}"
    return Table(
        table.relation,
        table.strongest_lock,
        duration(table.reads_blocked_ms) if table.reads_blocked_ms else "no",
        duration(table.writes_blocked_ms) if table.writes_blocked_ms else "no",
        ", ".join(rows),
        said.replace(" in production", "") if writes else "",
    )


def kept_open(migrations: Sequence[MigrationResult], over: set[str]) -> set[int]:
    """Return the positions of those that the page opens: the worst."""
    worths = {at: worth(each) for at, each in enumerate(migrations)}
    for at, each in enumerate(migrations):
        if each.label in over:
            worths[at] = max(worths[at], 2)
    worst = sorted((at for at in worths if worths[at] >= 2), key=lambda at: (-worths[at], at))
    return set(worst[:_OPEN])
