"""The details of one migration in the comment on a pull request, folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_confiture.dry_run.results import (
    Finding,
    MigrationResult,
    OperationResult,
    StatementResult,
)
from django_confiture.formatting import count, listed, one_line
from django_confiture.reports.markdown.escaping import WORDS, block, code, in_html, text
from django_confiture.reports.phrases import forecast, harm, headline
from django_confiture.reports.phrases.facts import (
    hook_line,
    offending_rows,
    operation_facts,
    reason_label,
)
from django_confiture.reports.phrases.wording import about, about_size, clipped, first_line, steady

_OPERATIONS = 20
_STATEMENTS = 10
_FINDINGS = 20


def details(migration: MigrationResult) -> Iterator[str]:
    """Yield the lines of one folded migration, with a blank line after each HTML block."""
    before = ""
    for line in _lines(migration):
        if line or before:
            yield line
        before = line


def _lines(migration: MigrationResult) -> Iterator[str]:
    found = headline.severities([migration])
    summary = f"<code>{in_html(migration.label)}</code>"
    yield f"<details><summary>{summary}{f': {found}' if found else ''}</summary>"
    yield ""
    if migration.file is not None:
        yield code(migration.file)
        yield ""
    yield from _failure(migration)
    yield from _findings(migration)
    yield from _forecast(migration)
    shown = migration.operations[:_OPERATIONS]
    for operation in shown:
        yield from _operation(operation, migration)
    if more := len(migration.operations) - len(shown):
        yield f"And {count(more, 'more operation')}."
        yield ""
    for warning in migration.warnings[:10]:
        yield f"- Note: {text(steady(warning))}"
    yield ""
    yield "</details>"


def _failure(migration: MigrationResult) -> Iterator[str]:
    error = migration.error
    if error is None:
        return
    where = f" in {text(error.operation)}" if error.operation else ""
    rows = error.violations
    which = f" ({offending_rows(rows, WORDS)})" if rows is not None else ""
    yield f"**{text(error.type)}**{where}: {text(first_line(error.message), 1000)}{which}"
    yield ""
    if error.statement:
        yield block(clipped(error.statement, 2000), "sql")
        yield ""


# Findings.


def _findings(migration: MigrationResult) -> Iterator[str]:
    shown = harm.counted(migration)
    for position, finding in enumerate(shown[:_FINDINGS]):
        yield from _finding(finding, migration.operations)
        if finding.advice and finding.advice not in [f.advice for f in shown[:position]]:
            yield "Instead:"
            yield ""
            yield block(clipped(finding.advice, 6000), "python")
            yield ""
    if len(shown) > _FINDINGS:
        yield f"And {count(len(shown) - _FINDINGS, 'more finding')}."
        yield ""
    for finding in migration.findings:
        if finding.silenced is not None:
            yield f"- Accepted: `{finding.id}`, {text(finding.silenced)}"
    yield ""


def _finding(finding: Finding, operations: Sequence[OperationResult]) -> Iterator[str]:
    lines = [each.line for each in operations if each.index == finding.operation]
    where = "" if finding.operation is None else f", operation {finding.operation + 1}"
    where += f", line {lines[0]}" if lines and lines[0] else ""
    basis = ", by policy, not measured" if finding.basis == "policy" else ""
    yield f"**{finding.severity.capitalize()}:** {text(finding.message)} "
    yield f"(`{finding.id}`{where}{basis})"
    yield ""
    for line in finding.evidence:
        yield f"- {text(steady(line))}"
    if finding.evidence:
        yield ""


# Forecasts and measurements.


def _forecast(migration: MigrationResult) -> Iterator[str]:
    estimate = forecast.made(migration)
    if estimate is None:
        return
    between = f"{about(estimate.low_ms)} to {about(estimate.high_ms)}"
    yield f"**In production** {about(estimate.expected_ms)} ({between}; {forecast.held(estimate)})."
    yield ""
    if said := forecast.volumes(estimate, about_size):
        yield f"- {listed(said)}"
    for table in sorted(migration.tables, key=lambda each: each.relation):
        for impact in table.production.impact if table.production is not None else ():
            yield f"- {text(steady(impact))}"
    yield ""


def _operation(operation: OperationResult, migration: MigrationResult) -> Iterator[str]:
    tables = {table.relation for table in migration.tables}
    facts = "; ".join(fact.sentence for fact in operation_facts(operation, tables, WORDS))
    yield (
        f"**{operation.index + 1}. {text(operation.description)}**, {about(operation.duration_ms)}"
        f"{': ' + facts if facts else ''}"
    )
    if operation.reason:
        yield f"<br>{reason_label(operation)}: {text(operation.reason)}"
    for hook in operation.hooks:
        yield f"<br>Hook {hook_line(hook, WORDS)}"
    yield ""
    if operation.statements:
        shown = [_statement_line(each) for each in operation.statements[:_STATEMENTS]]
        if more := len(operation.statements) - len(shown):
            shown.append(f"-- and {count(more, 'more statement')}")
        yield block("\n".join(shown), "sql")
        yield ""


def _statement_line(statement: StatementResult) -> str:
    times = f"  -- {statement.executions:,} times" if statement.executions > 1 else ""
    note = f"  -- {statement.note}" if statement.note else ""
    return clipped(one_line(statement.text), 400) + times + note
