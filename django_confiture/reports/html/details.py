"""One migration in the HTML report: what it did, what that costs, what to do instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import cleandoc

from django.utils.safestring import SafeString

from django_confiture.dry_run.results import (
    Finding,
    MigrationResult,
    OperationResult,
    StatementResult,
    TableResult,
)
from django_confiture.dry_run.results.blocking import blocking_of
from django_confiture.formatting import count, duration
from django_confiture.reports.html.text import (
    BADGES,
    PLAIN_WORDS,
    VERDICT_WORDS,
    Badge,
    in_element,
    percent,
)
from django_confiture.reports.phrases import forecast, harm, headline, schema
from django_confiture.reports.phrases.facts import (
    hook_line,
    offending_rows,
    reason_label,
    statement_facts,
)
from django_confiture.reports.phrases.harm import worth
from django_confiture.reports.phrases.verdicts import verdict
from django_confiture.reports.phrases.wording import clipped, first_line

_STATEMENTS, _CHARACTERS = 500, 4_000
"""The most statements of one migration, and the most characters of one statement."""

_OPEN = 20
"""The most migrations that are open at first."""


@dataclass(frozen=True)
class Shown:
    """A finding, and the code to write instead unless an earlier finding shows the same."""

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
class TableRow:
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
    badge: Badge
    words: SafeString
    """Markup, with names escaped."""
    worth: int
    took: str
    stopped: str
    """For how long writers have to wait at most; ``""`` if they don't."""
    bar: str
    """The same as a share of the longest of all migrations, in percent."""
    commit: str
    where: str
    findings: str
    open: bool
    shown: tuple[Shown, ...]
    silenced: tuple[Finding, ...]
    operations: tuple[Operation, ...]
    around: tuple[Statement, ...]
    hooks: tuple[str, ...]
    tables: tuple[TableRow, ...]
    changes: tuple[tuple[str, str], ...]
    message: str
    """Why it would fail."""
    rows: str
    """Which rows stand in the way."""
    brief: bool = False
    """Whether statements and code are left out, since the page would be too large."""

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


def details(
    migration: MigrationResult, *, target: str, opened: bool, share: float = 0.0
) -> Details:
    """Return what the page shows of a migration; ``share`` is the length of its bar."""
    found = verdict(migration, VERDICT_WORDS)
    stop = harm.longest_stop(migration)
    line = f", line {migration.line}" if migration.line else ""
    operations = tuple(_operations(migration))
    return Details(
        target=target,
        migration=migration,
        badge=BADGES[found.mark],
        words=SafeString(found.text),
        worth=worth(migration),
        took=duration(migration.duration_ms),
        stopped=duration(stop.ms) if stop is not None else "",
        bar=percent(max(100 * share, 1.0)) if share else "",
        commit=duration(migration.commit_ms) if migration.commit_ms >= 1 else "",
        where=f"{migration.file}{line}" if migration.file else "",
        findings=headline.severities([migration]),
        open=opened,
        shown=tuple(_findings(migration)),
        silenced=tuple(each for each in migration.findings if each.silenced is not None),
        operations=operations,
        around=tuple(_shown_statement(each, migration) for each in migration.statements[:20]),
        hooks=tuple(hook_line(each, PLAIN_WORDS) for each in migration.hooks),
        tables=tuple(_table(each) for each in migration.tables),
        changes=tuple(schema.lines(migration.schema_changes)),
        message=first_line(migration.error.message) if migration.error is not None else "",
        rows=rows_at_fault(migration),
    )


def rows_at_fault(migration: MigrationResult) -> str:
    """Return which rows stand in the way, ``""`` where none do."""
    rows = migration.error.violations if migration.error is not None else None
    return offending_rows(rows, PLAIN_WORDS) if rows is not None else ""


def _findings(migration: MigrationResult) -> Iterator[Shown]:
    lines = {each.index: each.line for each in migration.operations}
    seen: set[str] = set()
    for finding in harm.counted(migration):
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
    """Return the ``room`` longest statements, in order."""
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
        _where(operation),
        reason_label(operation) if operation.reason else "",
        operation.reason,
        tuple(hook_line(each, PLAIN_WORDS) for each in operation.hooks),
        tuple(_shown_statement(each, migration) for each in chosen),
        len(operation.statements) - len(chosen),
    )


def _where(operation: OperationResult) -> str:
    if not operation.line:
        return ""
    return (
        f"{operation.file}, line {operation.line}" if operation.file else f"line {operation.line}"
    )


def _shown_statement(statement: StatementResult, migration: MigrationResult) -> Statement:
    tables = {table.relation for table in migration.tables}
    known = forecast.made(migration) is not None
    facts = statement_facts(statement, tables, PLAIN_WORDS, forecast=known)
    times = [f"{statement.executions:,} times"] if statement.executions > 1 else []
    return Statement(
        in_element(clipped(cleandoc(statement.text), _CHARACTERS)),
        duration(statement.duration_ms),
        (*times, *(fact.sentence for fact in facts)),
        statement.note,
    )


def _table(table: TableResult) -> TableRow:
    rows = []
    if table.rewritten:
        rows.append("rewritten")
    if table.rows_scanned is None:
        rows.append("every row read")
    elif table.rows_scanned:
        rows.append(f"{count(table.rows_scanned, 'row')} read")
    if table.rows_written:
        rows.append(f"{count(table.rows_written, 'row')} written")
    return TableRow(
        table.relation,
        table.strongest_lock,
        duration(table.reads_blocked_ms) if table.reads_blocked_ms else "no",
        duration(table.writes_blocked_ms) if table.writes_blocked_ms else "no",
        ", ".join(rows),
        _blocked_in_production(table),
    )


def _blocked_in_production(table: TableResult) -> str:
    blocking = blocking_of(table)
    if not blocking.forecast or not blocking.writes_ms:
        return ""
    said = PLAIN_WORDS.expected
    first = f"{blocking.what} {said(blocking.writes_ms)}"
    if blocking.together or not blocking.reads_ms:
        return first
    return f"{first}, reads {said(blocking.reads_ms)}"


def kept_open(migrations: Sequence[MigrationResult], over: set[str]) -> set[int]:
    """Return the positions of the migrations to open at first: the worst ones."""
    worths = {at: worth(each) for at, each in enumerate(migrations)}
    for at, each in enumerate(migrations):
        if each.label in over:
            worths[at] = max(worths[at], 2)
    worst = sorted((at for at in worths if worths[at] >= 2), key=lambda at: (-worths[at], at))
    return set(worst[:_OPEN])
