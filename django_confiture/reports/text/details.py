"""One migration in the terminal report: its operations, forecast, failure and findings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from django_confiture.formatting import duration
from django_confiture.reports.phrases import forecast, schema
from django_confiture.reports.phrases.facts import hook_line, operation_facts
from django_confiture.reports.text import findings, statements
from django_confiture.reports.text.failures import failure
from django_confiture.reports.text.markup import WORDS, Line, escape, row, unbroken
from django_confiture.reports.text.verdicts import label

if TYPE_CHECKING:
    from django_confiture.dry_run.results import (
        MigrationResult,
        OperationResult,
        SchemaChange,
    )

_REHEARSED = {
    "substituted": "instead",
    "not_rehearsed": "not run",
    "skipped_by_router": "router",
    "exact": "note",
}


def details(migration: MigrationResult, verbosity: int) -> Iterator[Line]:
    """Yield what a migration did; verbosity 3 adds the facts of each statement."""
    yield ""
    yield f"{label(migration)}  {duration(migration.duration_ms)}"
    for operation in migration.operations:
        yield from _operation(operation, migration, verbosity)
    for hook in migration.hooks:
        yield row("hook", 8, hook_line(hook, WORDS), indent=2)
    for name, text in forecast.rows(migration):
        yield row(f"[bold]{name}[/]" if name else "", 8, escape(text), indent=2)
    yield from schema_changes(migration.schema_changes)
    if migration.commit_ms >= 1:
        took = duration(migration.commit_ms)
        yield row("commit", 8, f"{took} to check the deferred constraints", indent=2)
    for warning in migration.warnings:
        yield row("[yellow]note[/]", 8, escape(warning), indent=2)
    if migration.outcome == "failed" and migration.error is not None:
        yield from failure(migration.error)
    elif migration.error is not None:
        where = migration.error.operation or "its commit"
        yield row("[yellow]stopped[/]", 8, f"in: {escape(where)}", indent=2)
    for each in findings.rows(migration.findings, escape, full=True):
        yield _finding_line(each)


def _finding_line(each: findings.TextRow) -> Line:
    if each.code:
        return unbroken(each.text, indent=each.indent)
    return row(each.label, each.width, each.text, indent=each.indent)


def _operation(
    operation: OperationResult, migration: MigrationResult, verbosity: int
) -> Iterator[Line]:
    tables: Collection[str] = {table.relation for table in migration.tables}
    yield row(f"{operation.index + 1}.", 3, escape(operation.description), indent=2)
    yield row("[dim]time[/]", 8, duration(operation.duration_ms), indent=5)
    for fact in operation_facts(operation, tables, WORDS):
        yield row(f"[dim]{fact.label}[/]", 8, fact.text, indent=5)
    if operation.reason:
        name = "unseen" if operation.unseen else _REHEARSED[operation.rehearsed]
        yield row(f"[yellow]{name}[/]", 8, escape(operation.reason), indent=5)
    for hook in operation.hooks:
        yield row("[dim]hook[/]", 8, hook_line(hook, WORDS), indent=5)
    known = forecast.made(migration) is not None
    for statement in operation.statements:
        yield from statements.lines(statement, tables, forecast=known, full=verbosity >= 3)


def schema_changes(changes: Sequence[SchemaChange]) -> Iterator[Line]:
    """Yield what changed in the schema, one line each."""
    for sign, line in schema.lines(changes):
        yield row(f"[cyan]{sign}[/]", 1, escape(line), indent=2)
