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
        names = ["a hook" if index is None else f"operation {index + 1}" for index in each.writers]
        what = "writes rows" if len(names) == 1 else "write the same row"
        last = "it" if len(names) == 1 else names[-1]
        yield finding(
            "pending-trigger-events",
            step,
            each.relation,
            f"Fails with pending trigger events once {listed(tuple(names))} {what} of "
            f"{each.relation}: here {last} found none to write",
            evidence=[
                f"{listed(each.constraints)} is checked at the commit",
                f"{names[-1]} wrote no row of {each.relation}",
            ],
        )
