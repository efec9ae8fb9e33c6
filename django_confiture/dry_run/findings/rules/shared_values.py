"""Rows that all get the one value that a function returned for a new column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from django_confiture.dry_run.findings.finding import finding
from django_confiture.dry_run.findings.subject import SharedValue, Subject
from django_confiture.dry_run.results import Finding
from django_confiture.formatting import count


def rows_with_one_value(subject: Subject) -> Iterator[Finding]:
    """Yield the new columns whose rows have one value, or would have if it were not unique."""
    error = subject.result.error
    for each in subject.shared:
        step = next(step for step in subject.steps if step.id == each.step_id)
        if error is None:
            yield finding(
                "same-value-for-all-rows",
                step,
                each.relation,
                message(each),
                evidence=[f"{count(each.rows, 'row')} of those that were looked at have it"],
            )
        else:
            found = finding(
                "same-value-for-all-rows",
                step,
                each.relation,
                f"{message(each)}, which has to be unique",
                evidence=[f"{error.type}: {error.message}"],
            )
            yield replace(found, severity="danger")


def message(found: SharedValue) -> str:
    """Return what is said of a column whose rows have one value."""
    return f"All rows of {found.relation} get one value of {found.function}() in {found.column}"
