"""The verdict on the whole run, in one line of plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from django_confiture.dry_run.results import (
    Finding,
    MigrationResult,
    Report,
    TableResult,
    Waiter,
)
from django_confiture.formatting import count, duration, listed
from django_confiture.reports.phrases import deploy
from django_confiture.reports.phrases.problems import own
from django_confiture.reports.phrases.wording import visible

_OUTCOMES = {
    "passed": "all would apply",
    "failed": "would fail",
    "exceeded": "all would apply, over the budget",
    "yielded": "stopped, other sessions were waiting",
    "stopped": "stopped before its end",
}

_UNDONE = {
    "same": "",
    "different": ", but undoing them leaves another schema",
    "irreversible": ", but can't be undone",
    "failed": ", but undoing them fails",
}


def headline(report: Report) -> str:
    """Return how many migrations there were, how they went, how many findings, what order."""
    found = severities(report.measured)
    findings = f"; {found}" if found else ""
    line = deploy.order(report)
    return f"{subject(report)}: {outcome(report)}{findings}{f'. {line}' if line else ''}"


def subject(report: Report) -> str:
    """Return what was rehearsed."""
    migrations = [each for each in own(report) if not each.of_receivers]
    since = f" since {visible(_short(report.since))}" if report.since else ""
    if not migrations and report.error is None:
        return f"No migration{since}" if since else "No migration is pending"
    return f"Dry run of {count(len(migrations), 'migration')}{since}"


def _short(revision: str) -> str:
    return revision[:10] if re.fullmatch("[0-9a-f]{40}", revision) else revision


def outcome(report: Report) -> str:
    """Return how it went."""
    if not report.migrations and not own(report) and report.error is None:
        return "nothing to rehearse"
    undone = _UNDONE[report.reverse.outcome] if report.reverse is not None else ""
    return _OUTCOMES[report.verdict] + undone


def severities(migrations: Iterable[MigrationResult]) -> str:
    """Return the number of findings of each severity, ``""`` without any."""
    found = list(_severities(migrations))
    names = ("danger", "warning", "notice")
    return listed([count(found.count(name), name) for name in names if name in found])


LONG_MS = 1000.0
"""A table that is blocked this long deserves a look, whatever its size."""


def blocks_long(migration: MigrationResult) -> bool:
    """Return whether it blocks a table for longer than people take for granted."""
    return any(table.writes_blocked_ms >= LONG_MS for table in migration.tables)


def has_danger(migrations: Iterable[MigrationResult]) -> bool:
    """Return whether a finding that counts is a danger."""
    return "danger" in _severities(migrations)


def has_warning(migration: MigrationResult) -> bool:
    """Return whether a finding that counts is more than a notice."""
    return not {"danger", "warning"}.isdisjoint(_severities([migration]))


def _severities(migrations: Iterable[MigrationResult]) -> Iterator[str]:
    for migration in migrations:
        if not migration.rehearsed_first:
            yield from (each.severity for each in counted(migration.findings))


def waited(waiter: Waiter) -> str:
    """Return who waited for the dry run, for what, and how long."""
    who = waiter.application or "an unnamed session"
    where = f" on {waiter.relation}" if waiter.relation else ""
    return (
        f"session {waiter.pid} ({who}), whose {waiter.statement_kind or 'statement'}{where} had "
        f"waited {duration(waiter.waited_ms)}"
    )


def over_budget(report: Report) -> list[str]:
    """Return what is over the budget, all findings in one sentence."""
    failing = [each for each in report.exceeded if each.budget == "fail_on"]
    ids = listed(sorted({str(each.figure) for each in failing}))
    findings = [f"--fail-on {failing[0].limit}: {ids}"] if failing else []
    return findings + [each.message for each in report.exceeded if each.budget != "fail_on"]


def counted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings that are not silenced."""
    return tuple(each for each in findings if each.silenced is None)


def keeps_locked(table: TableResult, name: str) -> str:
    """Return what a migration writes to a table, and whether it keeps the rows locked."""
    if not table.rows_written:
        return f"keeps rows of {name} locked"
    rows = count(table.rows_written, "row")
    if table.changed_in > 1:
        return f"writes {rows} of {name} in {table.changed_in:,} transactions"
    return f"writes {rows} of {name} and keeps them locked"
