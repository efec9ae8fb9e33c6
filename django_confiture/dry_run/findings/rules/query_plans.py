"""Queries of production whose plans a migration has made worse."""

from __future__ import annotations

from collections.abc import Iterator

from django_confiture.dry_run.findings.finding import finding
from django_confiture.dry_run.findings.subject import Subject
from django_confiture.dry_run.results import Finding
from django_confiture.dry_run.results.deploy import Regressed
from django_confiture.formatting import count

_LONGEST = 200


def regressed_plans(subject: Subject) -> Iterator[Finding]:
    """Yield a finding for each table with queries that are planned worse than before."""
    for relation in dict.fromkeys(each.relation for each in subject.regressed):
        found = [each for each in subject.regressed if each.relation == relation]
        yield finding(
            "query-plan-regressed",
            None,
            relation,
            f"Production's plan of {count(len(found), 'frequent statement')} on {relation} gets"
            " worse",
            evidence=[line for each in found for line in _evidence(each)],
        )


def _evidence(each: Regressed) -> Iterator[str]:
    text = each.text if len(each.text) <= _LONGEST else f"{each.text[:_LONGEST]}..."
    yield f"{text}{rate(each.calls_per_second)}: {each.why}"
    yield f"before: {each.before}"
    yield f"after: {each.after} (costs by the sizes of this database)"


def rate(calls_per_second: float | None) -> str:
    """Return how often a query runs, in parentheses."""
    return "" if calls_per_second is None else f" ({calls_per_second:,.2g} calls a second)"
