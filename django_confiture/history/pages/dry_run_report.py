"""The page of one dry run, made from its stored report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django_confiture.dry_run.results import Finding, MigrationResult
from django_confiture.dry_run.results.from_json import restored
from django_confiture.formatting import duration, size
from django_confiture.history.models import DryRun
from django_confiture.reports import render
from django_confiture.reports.phrases.verdicts import blocks_table
from django_confiture.reports.phrases.wording import Words

_FORMS = {
    "json": ("json", "application/json"),
    "txt": ("text", "text/plain"),
    "md": ("markdown", "text/markdown"),
}
"""Suffix of the address → format of the report and content type."""

_WORDS = Words(str, str, duration, size)

_UNREADABLE = (TypeError, ValueError, KeyError, AttributeError)
"""What a damaged report raises, or one of another release."""


@dataclass(frozen=True)
class _Line:
    """One migration."""

    label: str
    backwards: bool
    outcome: str
    error: str
    took: str
    blocks: str
    forecast: str


@dataclass(frozen=True)
class _Found:
    """One finding of a migration."""

    severity: str
    id: str
    migration: str
    message: str
    silenced: str | None


def context_of(row: DryRun) -> dict[str, Any]:
    """Return the template's context."""
    if not row.report:
        return {"row": row, "unkept": True}
    try:
        report = restored(json.loads(row.report))
        return {
            "row": row,
            "lines": [_line(each) for each in report.measured],
            "findings": [
                _found(migration, each)
                for migration in report.measured
                for each in migration.findings
            ],
            "text": render(report, "text"),
        }
    except _UNREADABLE:
        return {"row": row, "unreadable": True}


def rendered(row: DryRun, suffix: str) -> tuple[str, str] | None:
    """Return the report in a format and its content type; None if there is none."""
    if suffix not in _FORMS or not row.report:
        return None
    name, content_type = _FORMS[suffix]
    if name == "json":
        return row.report, content_type
    try:
        return render(restored(json.loads(row.report)), name), content_type
    except _UNREADABLE:
        return None


def _line(migration: MigrationResult) -> _Line:
    estimate = migration.estimate
    ran = migration.outcome != "not_run"
    return _Line(
        migration.label,
        migration.direction == "backward",
        migration.outcome.replace("_", " "),
        migration.error.message if migration.error is not None else "",
        duration(migration.duration_ms) if ran else "",
        "; ".join(_blocks(migration)) or ("no one" if ran else ""),
        f"{duration(estimate.low_ms)} to {duration(estimate.high_ms)}" if estimate else "",
    )


def _blocks(migration: MigrationResult) -> list[str]:
    return [
        blocks_table(table, _WORDS).removeprefix("blocks ")
        for table in migration.tables
        if table.writes_blocked_ms
    ]


def _found(migration: MigrationResult, finding: Finding) -> _Found:
    return _Found(finding.severity, finding.id, migration.label, finding.message, finding.silenced)
