"""The problems to mark at lines of code, in the words of all formats that do so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from django_confiture.dry_run.results import (
    Exceeded,
    Failure,
    Finding,
    MigrationResult,
    Report,
    Severity,
)
from django_confiture.formatting import duration, one_line, size
from django_confiture.reports.phrases.facts import offending_rows
from django_confiture.reports.phrases.wording import Words, first_line, visible, visible_lines

Level = Literal["failure", "exceeded"] | Severity

LEVELS: tuple[Level, ...] = ("failure", "exceeded", "danger", "warning", "notice")
"""From worst to least."""

FAILS = "migration-fails"
NOT_REVERSED = "migration-not-reversed"
NOT_REHEARSED = "not-rehearsed"
OVER_BUDGET = "over-budget"
OUTSIDE = "fails-outside-migrations"
YIELDED = "gave-way"

_WORDS = Words(visible, visible, duration, size)


@dataclass(frozen=True)
class Problem:
    """One problem, in words that fit every format."""

    id: str
    """The id of a finding, or one of the constants above."""
    level: Level
    title: str
    message: str
    advice: str = ""
    migration: str | None = None
    operation: int | None = None
    relation: str | None = None
    file: str | None = None
    line: int | None = None
    end_line: int | None = None
    silenced: str | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies the problem across runs: no figures, no lines."""
        operation = "" if self.operation is None else str(self.operation)
        return self.id, self.migration or "", operation, self.relation or ""


def problems(report: Report) -> tuple[Problem, ...]:
    """Return the problems of a report, the worst first, then in the order of the plan."""
    found = list(_found(report))
    return tuple(sorted(found, key=lambda problem: LEVELS.index(problem.level)))


def own(report: Report) -> tuple[MigrationResult, ...]:
    """Return what the report is about: migrations of the branch, any that failed, and receivers."""
    return tuple(m for m in report.measured if _is_own(m))


def _is_own(migration: MigrationResult) -> bool:
    if migration.error is not None or not migration.of_receivers:
        return migration.error is not None or not migration.rehearsed_first
    return _is_worth_telling(migration)


def _is_worth_telling(receivers: MigrationResult) -> bool:
    """Return whether receivers did more than Django's own do with each ``migrate``."""
    blocks = any(table.writes_blocked_ms for table in receivers.tables)
    names = [each.description for each in receivers.operations]
    foreign = any(not name.startswith("django.") for name in names) or bool(receivers.statements)
    return bool(receivers.findings) or blocks or foreign


def _found(report: Report) -> Iterator[Problem]:
    if report.error is not None and not any(each.error for each in report.receivers):
        yield Problem(OUTSIDE, "failure", "Fails outside the migrations", _failure(report.error))
    for waiter in report.yielded_to:
        who = f"{waiter.statement_kind or 'statement'} of {waiter.application or 'no name'}"
        yield Problem(
            YIELDED, "warning", "Gave way", f"The dry run gave way: {visible(who)} waited for it."
        )
    by_label = {migration.label: migration for migration in report.measured}
    failing = {(e.figure, e.migration, e.operation, e.relation) for e in report.exceeded}
    for migration in own(report):
        for found in _of_migration(migration):
            over = (found.id, found.migration, found.operation, found.relation) in failing
            yield replace(found, level="exceeded") if over else found
    for exceeded in report.exceeded:
        if exceeded.budget != "fail_on":  # which is the finding itself
            yield _exceeded(exceeded, by_label[exceeded.migration])
    if report.reverse is not None and report.reverse.outcome != "same":
        yield from _of_reverse(report)


def _of_migration(migration: MigrationResult) -> Iterator[Problem]:
    if migration.error is not None:
        failed = migration.outcome == "failed"
        problem = Problem(
            FAILS if failed else YIELDED,
            "failure" if failed else "warning",
            f"{migration.label} {'would fail' if failed else 'was stopped'}",
            _failure(migration.error),
        )
        yield _placed(problem, migration, _index(migration, migration.error))
    if migration.rehearsed_first:
        return
    for finding in migration.findings:
        yield _finding(migration, finding)
    for operation in migration.operations:
        if operation.rehearsed == "not_rehearsed":
            title = f"{migration.label}: not rehearsed"
            message = f"{operation.description}: {operation.reason}"
            problem = Problem(NOT_REHEARSED, "notice", title, message)
            yield _placed(problem, migration, operation.index)


def _finding(migration: MigrationResult, finding: Finding) -> Problem:
    problem = Problem(
        finding.id,
        finding.severity,
        f"{migration.label}: {finding.id}",
        finding.message,
        visible_lines(finding.advice),
        relation=finding.relation,
        silenced=visible(finding.silenced) if finding.silenced is not None else None,
    )
    return _placed(problem, migration, finding.operation)


def _exceeded(exceeded: Exceeded, migration: MigrationResult) -> Problem:
    problem = Problem(
        f"{OVER_BUDGET}-{exceeded.budget}".replace("_", "-"),
        "exceeded",
        f"{migration.label}: over the budget",
        exceeded.message,
        relation=exceeded.relation,
    )
    return _placed(problem, migration, exceeded.operation)


def _of_reverse(report: Report) -> Iterator[Problem]:
    assert report.reverse is not None
    reverse = report.reverse
    for undone in reverse.migrations:
        if undone.error is not None:
            title = f"{undone.label} can't be undone"
            problem = Problem(NOT_REVERSED, "failure", title, _failure(undone.error))
            yield _placed(problem, undone, _index(undone, undone.error))
    if reverse.outcome == "different":
        changes = "; ".join(
            f"{each.kind} {each.object} {each.name}" for each in reverse.differences[:5]
        )
        problem = Problem(NOT_REVERSED, "failure", "Undone, but not as before", changes)
        yield _placed(problem, report.migrations[-1], None)


def _placed(problem: Problem, migration: MigrationResult, operation: int | None) -> Problem:
    """Return a problem with the migration, operation and lines of code that it is about."""
    file, line, end_line = migration.file, migration.line, migration.line
    for each in migration.operations:
        if each.index == operation:
            file = each.file or file
            line, end_line = each.line or line, each.end_line or end_line
    return replace(
        problem,
        title=visible(problem.title),
        message=visible(problem.message),
        migration=migration.label,
        operation=operation,
        file=visible(file) if file is not None else None,
        line=line,
        end_line=end_line,
    )


def _index(migration: MigrationResult, error: Failure) -> int | None:
    """Return the index of the operation that failed, which is the last that ran."""
    if error.operation is None or not migration.operations:
        return None
    return migration.operations[-1].index


def _failure(error: Failure) -> str:
    message = one_line(visible(first_line(error.message)))
    rows = error.violations
    if rows is not None:
        message += f" ({offending_rows(rows, _WORDS)})"
    return f"{visible(error.type)}: {message}"
