"""The terminal report: a verdict for each migration first, then what costs and blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from django_confiture.dry_run.lock_modes import LockMode

if TYPE_CHECKING:
    from django_confiture.dry_run.results import (
        MigrationResult,
        OperationResult,
        Report,
        Scan,
        StatementResult,
        TableLock,
        TableResult,
    )


def render(
    report: Report, *, color: bool = False, width: int = 80, verbosity: int = 1, **_options: object
) -> str:
    """Return the report as text of at most ``width`` columns."""
    out = StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        no_color=not color,
        highlight=False,
        legacy_windows=False,
    )
    for line in _lines(report, verbosity):
        console.print(line)
    return out.getvalue()


def _lines(report: Report, verbosity: int) -> Iterator[str | Text | Table]:
    database = report.database
    yield (
        f"[bold]Dry run of {_count(len(report.migrations), 'migration')}: "
        f"{_OUTCOMES[report.outcome]}[/]"
    )
    yield (
        f"[dim]on {escape(database.name)}, PostgreSQL {database.server_version}, "
        f"{size(database.size_bytes)}[/]"
    )
    yield ""
    for migration in report.migrations:
        yield from _verdict(migration)
    for migration in report.migrations:
        if migration.outcome != "not_run":
            yield from _detail(migration, verbosity)
    yield ""
    yield from _closing(report)


_OUTCOMES = {
    "passed": "[green]all would apply[/]",
    "failed": "[bold red]would fail[/]",
    "exceeded": "[yellow]all would apply, over the budget[/]",
    "yielded": "[yellow]stopped, other sessions were waiting[/]",
}


def _verdict(migration: MigrationResult) -> Iterator[str]:
    mark, verdict = _judge(migration)
    yield f"{mark} [bold]{escape(migration.label)}[/]{_backwards(migration)}"
    yield f"      {verdict}"


def _backwards(migration: MigrationResult) -> str:
    return " (backwards)" if migration.direction == "backward" else ""


def _judge(migration: MigrationResult) -> tuple[str, str]:
    if migration.outcome == "not_run":
        return "[dim] --  [/]", "[dim]not run[/]"
    if migration.outcome == "failed":
        error = migration.error
        message = first_line(error.message) if error is not None else ""
        return "[bold red]FAIL [/]", f"[red]would fail: {escape(message)}[/]"
    parts = [
        _blocks(table) + ("" if migration.grows else ", whatever its size")
        for table in migration.tables
        if table.writes_blocked_ms
    ]
    parts += [
        f"writes {table.rows_written:,} rows of {escape(table.relation)} and keeps them locked"
        for table in migration.tables
        if table.rows_written and not table.reads_blocked_ms
    ]
    verdict = "; ".join([*(parts or ["blocks nobody"]), f"took {duration(migration.duration_ms)}"])
    if migration.grows and any(table.writes_blocked_ms for table in migration.tables):
        return "[yellow]LOCKS[/]", verdict
    if any(table.rows_written for table in migration.tables):
        return "[yellow]ROWS [/]", verdict
    return "[green] ok  [/]", verdict


def _blocks(table: TableResult) -> str:
    name = escape(table.relation)
    reads, writes = table.reads_blocked_ms, table.writes_blocked_ms
    if not reads:
        return f"blocks writes on {name} for {duration(writes)}"
    if reads > 0.95 * writes:
        return f"blocks reads and writes on {name} for {duration(reads)}"
    return f"blocks writes on {name} for {duration(writes)}, reads for {duration(reads)}"


def _detail(migration: MigrationResult, verbosity: int) -> Iterator[str | Table]:
    yield ""
    took = duration(migration.duration_ms)
    yield f"[bold]{escape(migration.label)}[/]{_backwards(migration)}  {took}"
    for operation in migration.operations:
        yield from _operation(operation, verbosity)
    for hook in migration.hooks:
        yield f"  {hook.phase.lower()} hook {escape(hook.hook)}: {_hook(hook)}"
    if migration.commit_ms >= 1:
        yield f"  commit: {duration(migration.commit_ms)} to check the deferred constraints"
    for warning in migration.warnings:
        yield f"  [yellow]![/] {escape(warning)}"
    if migration.error is not None:
        yield from _failure(migration)


def _operation(operation: OperationResult, verbosity: int) -> Iterator[str | Table]:
    yield f"  {operation.index + 1}. {escape(operation.description)}"
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=5)
    grid.add_column(overflow="fold")
    for name, value in _facts(operation):
        grid.add_row("", f"[dim]{name}[/] {value}")
    yield grid
    if operation.reason:
        yield f"     [yellow]{_REHEARSED[operation.rehearsed]}[/]: {escape(operation.reason)}"
    for hook in operation.hooks:
        yield f"     hook {escape(hook.hook)} ({hook.phase}): {_hook(hook)}"
    if verbosity >= 2:
        for statement in operation.statements:
            yield f"     [cyan]{duration(statement.duration_ms):>8}[/] {_statement(statement)}"


_REHEARSED = {"substituted": "substituted", "not_rehearsed": "not rehearsed", "exact": ""}


def _facts(operation: OperationResult) -> Iterator[tuple[str, str]]:
    yield "time ", duration(operation.duration_ms)
    if rows := sum(statement.rows_written for statement in operation.statements):
        yield "rows ", f"{rows:,} written"
    scans = [_scan(scan) for statement in operation.statements for scan in statement.scans]
    if scans:
        yield "reads", ", ".join(dict.fromkeys(scans))
    rewrites = [name for statement in operation.statements for name in statement.rewrites]
    if rewrites:
        yield "[/][bold yellow]rewrites[/][dim]", ", ".join(map(escape, dict.fromkeys(rewrites)))
    built = [name for statement in operation.statements for name in statement.indexes_built]
    if built:
        yield "builds", ", ".join(map(escape, dict.fromkeys(built)))
    for relation, lock in _strongest(operation).items():
        yield "locks", f"{escape(relation)}: {lock.name}{_effect(lock)}"


def _scan(scan: Scan) -> str:
    rows = f"{scan.rows:,} rows" if scan.rows is not None else "every row"
    passes = f" in {scan.passes} passes" if scan.passes > 1 else ""
    return f"{escape(scan.relation)}: {rows}{passes}"


def _strongest(operation: OperationResult) -> dict[str, LockMode]:
    found: dict[str, LockMode] = {}
    locks: Iterable[TableLock] = (
        lock for statement in operation.statements for lock in statement.locks
    )
    for lock in locks:
        mode = LockMode[lock.mode]
        if mode >= LockMode.RowExclusiveLock:
            found[lock.relation] = max(mode, found.get(lock.relation, mode))
    return found


def _effect(lock: LockMode) -> str:
    if lock.blocks_reads:
        return ", [red]blocks reads and writes[/]"
    return ", [yellow]blocks writes[/]" if lock.blocks_writes else ""


def _hook(hook: object) -> str:
    outcome = getattr(hook, "outcome", "")
    if outcome == "completed":
        rows = getattr(hook, "rows_affected", 0)
        return f"{rows:,} rows in {duration(getattr(hook, 'duration_ms', 0.0))}"
    return f"{outcome}, {escape(getattr(hook, 'reason', ''))}"


def _statement(statement: StatementResult) -> str:
    times = f" ({statement.executions:,} times)" if statement.executions > 1 else ""
    note = f" ({statement.note})" if statement.note else ""
    return escape(" ".join(statement.sql.split())[:300]) + times + note


def _failure(migration: MigrationResult) -> Iterator[str]:
    error = migration.error
    assert error is not None
    yield f"  [bold red]would fail[/] with {error.type}: {escape(error.message)}"
    if error.operation:
        yield f"    operation: {escape(error.operation)}"
    if error.statement:
        yield f"    statement: {escape(' '.join(error.statement.split())[:500])}"


def _closing(report: Report) -> Iterator[str]:
    coverage = report.coverage
    yield (
        f"{_count(coverage.exact, 'operation')} rehearsed exactly, "
        f"{coverage.substituted} in another form, {coverage.not_rehearsed} not at all. "
        "Times are those of this database, not of production."
    )
    if report.error is not None:
        yield f"[bold red]Failed outside the migrations[/]: {escape(report.error.message)}"
    for warning in report.warnings:
        yield f"[yellow]![/] {escape(warning)}"
    if report.sequences_moved:
        names = ", ".join(escape(move.sequence) for move in report.sequences_moved)
        yield f"Sequences moved, which no rollback undoes: {names}."
    if report.dead_bytes:
        yield f"Dead space left until VACUUM: {size(report.dead_bytes)}."
    yield "[bold]Everything was rolled back.[/]"


def first_line(message: str) -> str:
    """Return the first line of a message of PostgreSQL's."""
    return message.strip().partition("\n")[0]


def duration(ms: float) -> str:
    """Return milliseconds as people say them."""
    if ms < 1:
        return "<1 ms"
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms / 60_000:.1f} min"


def size(count: int) -> str:
    """Return bytes as PostgreSQL's ``pg_size_pretty`` does."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
