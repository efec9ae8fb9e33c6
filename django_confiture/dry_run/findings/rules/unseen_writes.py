"""Tables that are written and altered in one transaction, where here there was no row to write."""

from __future__ import annotations

from collections.abc import Iterator

from django_confiture.dry_run.findings.finding import finding
from django_confiture.dry_run.findings.subject import Subject
from django_confiture.dry_run.results import Finding
from django_confiture.formatting import listed


def refused_behind_rows(subject: Subject) -> Iterator[Finding]:
    """Yield the statements that fail where code before them finds rows to write."""
    for each in subject.pending:
        step = next(step for step in subject.steps if step.id == each.step_id)
        writer = "a hook" if each.operation is None else f"operation {each.operation + 1}"
        yield finding(
            "pending-trigger-events",
            step,
            each.relation,
            f"Fails with pending trigger events once {writer} writes rows of "
            f"{each.relation}: here it found none to write",
            evidence=[
                f"{listed(each.constraints)} is checked at the commit",
                f"{writer} wrote no row of {each.relation}",
            ],
        )
