"""The terminal report: a verdict for each migration first, then what costs and blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.formatting import count, duration, size
from django_confiture.reports.phrases import forecast, schema
from django_confiture.reports.phrases.headline import (
    blocks_long,
    has_danger,
    has_warning,
    keeps_locked,
    over_budget,
    severities,
    waited,
)
from django_confiture.reports.phrases.wording import first_line
from django_confiture.reports.text import findings as finding_rows
from django_confiture.reports.text import statements
from django_confiture.reports.text.markup import escape

if TYPE_CHECKING:
    from django_confiture.dry_run.results import (
        Failure,
        HookOutcome,
        MigrationResult,
        OperationResult,
        Report,
        ReverseResult,
        SchemaChange,
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
        emoji=False,
        legacy_windows=False,
    )
    for line in _lines(report, verbosity):
        console.print(line)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


Line = str | Table


def _lines(report: Report, verbosity: int) -> Iterator[Line]:
    database = report.database
    color = "yellow" if has_danger(report.migrations) else "green"
    outcome = _OUTCOMES[report.verdict].format(color)
    found = f"; {findings}" if (findings := severities(report.migrations)) else ""
    yield f"[bold]Dry run of {count(len(report.migrations), 'migration')}: {outcome}{found}[/]"
    name = escape(database.name)
    if report.clone is not None:
        name = f"a copy of {name}, made in {duration(report.clone.duration_ms)}"
    yield f"[dim]on {name}, PostgreSQL {database.server_version}, {size(database.size_bytes)}[/]"
    yield from _above_all(report)
    yield ""
    for migration in report.migrations:
        mark, verdict = _judge(migration)
        label = f"[bold]{escape(migration.label)}[/]{_backwards(migration)}"
        yield _row(mark, 5, f"{label}\n{verdict}")
    for migration in report.migrations:
        if migration.outcome != "not_run" or migration.error is not None:
            yield from _detail(migration, verbosity)
    if report.reverse is not None:
        yield from _reverse(report.reverse, verbosity)
    yield ""
    yield from _closing(report, verbosity)


def _above_all(report: Report) -> Iterator[str]:
    """Yield what is wrong with the run as a whole."""
    if report.error is not None:
        message = escape(first_line(report.error.message))
        yield f"[bold red]Failed outside the migrations[/]: {message}"
    for waiter in report.yielded_to:
        yield f"[yellow]Gave way[/] to {escape(waited(waiter))}."
    for sentence in over_budget(report):
        yield f"[yellow]Over the budget[/]: {escape(sentence)}."


def _row(left: str, width: int, right: str, *, indent: int = 0) -> Table:
    """Return two columns, the right one wrapped within itself."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=indent + width, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(" " * indent + left, right)
    return grid


_OUTCOMES = {
    "passed": "[{}]all would apply[/]",
    "failed": "[red]would fail[/]",
    "exceeded": "[yellow]all would apply, over the budget[/]",
    "yielded": "[yellow]stopped, other sessions were waiting[/]",
    "stopped": "[yellow]stopped before its end[/]",
}


def _backwards(migration: MigrationResult) -> str:
    return " (backwards)" if migration.direction == "backward" else ""


def _judge(migration: MigrationResult) -> tuple[str, str]:
    if migration.outcome == "not_run" and migration.error is None:
        return "[dim] --  [/]", "[dim]not run[/]"
    if migration.outcome == "not_run":
        message = first_line(migration.error.message) if migration.error is not None else ""
        return "[yellow]STOP [/]", f"stopped before its end: {escape(message)}"
    if migration.outcome == "failed":
        error = migration.error
        message = first_line(error.message) if error is not None else ""
        return "[bold red]FAIL [/]", f"[red]would fail: {escape(message)}[/]"
    long = blocks_long(migration)
    parts = [
        _blocks(table) + ("" if migration.grows or long else ", whatever its size")
        for table in migration.tables
        if table.writes_blocked_ms
    ]
    parts += [
        escape(keeps_locked(table, table.relation))
        for table in migration.tables
        if table.rows_written and not table.reads_blocked_ms
    ]
    verdict = "; ".join([*(parts or ["blocks nobody"]), f"took {duration(migration.duration_ms)}"])
    if (migration.grows or long) and any(table.writes_blocked_ms for table in migration.tables):
        return "[yellow]LOCKS[/]", verdict
    if any(table.rows_written for table in migration.tables):
        return "[yellow]ROWS [/]", verdict
    if has_warning(migration):
        return "[yellow]RISK [/]", f"{verdict}; {severities([migration])}"
    return "[green] ok  [/]", verdict


def _blocks(table: TableResult) -> str:
    name = escape(table.relation)
    reads, writes = forecast.blocked(table)
    if not table.reads_blocked_ms:
        return f"blocks writes on {name} for {writes}"
    if table.reads_blocked_ms > 0.95 * table.writes_blocked_ms:
        return f"blocks reads and writes on {name} for {reads}"
    return f"blocks writes on {name} for {writes}, reads for {reads}"


def _detail(migration: MigrationResult, verbosity: int) -> Iterator[Line]:
    yield ""
    took = duration(migration.duration_ms)
    yield f"[bold]{escape(migration.label)}[/]{_backwards(migration)}  {took}"
    tables = {table.relation for table in migration.tables}
    for operation in migration.operations:
        yield from _operation(operation, verbosity, tables)
    for hook in migration.hooks:
        yield _row("hook", 8, _hook(hook), indent=2)
    for name, text in forecast.rows(migration, full=verbosity >= 2):
        yield _row(f"[bold]{name}[/]" if name else "", 8, escape(text), indent=2)
    if verbosity >= 2:
        yield from _schema(migration.schema_changes)
    if migration.commit_ms >= 1:
        took = duration(migration.commit_ms)
        yield _row("commit", 8, f"{took} to check the deferred constraints", indent=2)
    for warning in migration.warnings:
        yield _row("[yellow]note[/]", 8, escape(warning), indent=2)
    if migration.outcome == "failed" and migration.error is not None:
        yield from _failure(migration.error)
    elif migration.error is not None:
        where = migration.error.operation or "its commit"
        yield _row("[yellow]stopped[/]", 8, f"in: {escape(where)}", indent=2)
    for row in finding_rows.rows(migration.findings, escape, full=verbosity >= 2):
        yield _row(row.label, row.width, row.text, indent=row.indent)


def _operation(operation: OperationResult, verbosity: int, tables: set[str]) -> Iterator[Line]:
    yield _row(f"{operation.index + 1}.", 3, escape(operation.description), indent=2)
    for name, value in _facts(operation, tables):
        yield _row(f"[dim]{name}[/]", 8, value, indent=5)
    if operation.reason:
        yield _row(
            f"[yellow]{_REHEARSED[operation.rehearsed]}[/]", 8, escape(operation.reason), indent=5
        )
    for hook in operation.hooks:
        yield _row("[dim]hook[/]", 8, _hook(hook), indent=5)
    if verbosity >= 2:
        for statement in operation.statements:
            took = f"[cyan]{duration(statement.duration_ms)}[/]"
            yield _row(took, 8, statements.sql(statement), indent=5)
            if verbosity >= 3:
                for name, value in statements.facts(statement):
                    yield _row(f"[dim]{name}[/]", 8, value, indent=14)


_REHEARSED = {"substituted": "instead", "not_rehearsed": "not run", "exact": "note"}


def _facts(operation: OperationResult, tables: set[str]) -> Iterator[tuple[str, str]]:
    yield "time", duration(operation.duration_ms)
    if rows := sum(statement.rows_written for statement in operation.statements):
        yield "rows", f"{rows:,} written"
    scans = [
        statements.scanned(scan) for statement in operation.statements for scan in statement.scans
    ]
    if scans:
        yield "reads", ", ".join(dict.fromkeys(scans))
    rewrites = [name for statement in operation.statements for name in statement.rewrites]
    if rewrites:
        yield "rewrites", ", ".join(map(escape, dict.fromkeys(rewrites)))
    built = [name for statement in operation.statements for name in statement.indexes_built]
    if built:
        yield "builds", ", ".join(map(escape, dict.fromkeys(built)))
    for relation, lock in _strongest(operation).items():
        if relation not in tables:
            continue  # a sequence, which follows its table
        yield "locks", f"{escape(relation)}: {lock.name}{_effect(lock)}"


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


def _hook(hook: HookOutcome) -> str:
    name = f"{escape(hook.hook)} ({hook.phase})"
    if hook.outcome == "completed":
        return f"{name}: {hook.rows_affected:,} rows in {duration(hook.duration_ms)}"
    return f"{name} {hook.outcome}: {escape(hook.reason)}"


def _failure(error: Failure) -> Iterator[Line]:
    yield _row(
        "[bold red]fails[/]",
        8,
        f"with {error.type}: {escape(' '.join(error.message.split()))}",
        indent=2,
    )
    if error.violations is not None:
        rows = error.violations
        keys = f", such as {escape(', '.join(rows.keys))}" if rows.keys else ""
        yield _row("", 8, f"{rows.count:,} rows of {escape(rows.relation)}{keys}", indent=2)
    if error.operation:
        yield _row("", 8, f"in the operation: {escape(error.operation)}", indent=2)
    if error.statement:
        statement = " ".join(error.statement.split())[:500]
        yield _row("", 8, f"in the statement: {escape(statement)}", indent=2)


def _schema(changes: Sequence[SchemaChange]) -> Iterator[Line]:
    for sign, line in schema.lines(changes):
        yield _row(f"[cyan]{sign}[/]", 1, escape(line), indent=2)


_REVERSED = {
    "same": "[green]undone, and the schema is as it was before[/]",
    "different": "[red]undone, but the schema is not as it was before[/]",
    "irreversible": "[red]can't be undone[/]",
    "failed": "[red]undoing fails[/]",
}


def _reverse(reverse: ReverseResult, verbosity: int) -> Iterator[Line]:
    yield ""
    yield f"[bold]Reverse: {_REVERSED[reverse.outcome]}[/]"
    for migration in reverse.migrations:
        mark, verdict = _judge(migration)
        label = f"[bold]{escape(migration.label)}[/]{_backwards(migration)}"
        yield _row(mark, 5, f"{label}\n{verdict}")
    if verbosity >= 2:
        for migration in reverse.migrations:
            if migration.outcome != "not_run":
                yield from _detail(migration, verbosity)
    yield from _schema(reverse.differences)
    if reverse.error is not None:
        yield from _failure(reverse.error)
    for note in reverse.notes:
        yield _row("[yellow]note[/]", 8, escape(note), indent=2)
    if reverse.outcome == "same":
        yield "[dim]Rows were not compared: what a migration deletes, no reverse brings back.[/]"


def _closing(report: Report, verbosity: int) -> Iterator[str]:
    coverage = report.coverage
    yield (
        f"{count(coverage.exact, 'operation')} rehearsed exactly, "
        f"{coverage.substituted} in another form, {coverage.not_rehearsed} not at all. "
        f"{forecast.whose_times(report)}"
    )
    if findings := finding_rows.summary(report.migrations):
        yield findings + (
            "" if verbosity >= 2 else " -v 2 shows what proves them, and better code."
        )
    for warning in report.warnings:
        yield f"[yellow]![/] {escape(warning)}"
    if report.sequences_moved:
        names = ", ".join(escape(move.sequence) for move in report.sequences_moved)
        yield f"Sequences moved, which no rollback undoes: {names}."
    if report.dead_bytes:
        yield f"Dead space left until VACUUM: {size(report.dead_bytes)}."
    if report.clone is None:
        yield "[bold]Everything was rolled back.[/]"
    elif report.rolled_back:
        yield "[bold]The copy was dropped.[/]"
