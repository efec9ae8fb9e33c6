"""The exit codes of the commands; 0 means that all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_confiture.dry_run.results import Report

FAILED, USAGE, EXCEEDED, YIELDED, UNPROVEN = 1, 2, 3, 4, 5


def exit_code(report: Report) -> int:
    """Return the exit code of a dry run."""
    if report.outcome == "yielded":
        return YIELDED
    if report.outcome != "failed":
        if report.reverse is not None and report.reverse.outcome != "same":
            return FAILED
        return EXCEEDED if report.outcome == "exceeded" else 0
    return USAGE if report.verdict == "stopped" else FAILED
