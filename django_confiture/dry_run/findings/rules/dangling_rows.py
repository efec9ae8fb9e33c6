"""Rows that were written while their foreign keys were off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from django_confiture.dry_run.findings.finding import finding
from django_confiture.dry_run.findings.subject import Subject, UncheckedKey
from django_confiture.dry_run.results import Finding
from django_confiture.formatting import count


def rows_unchecked(subject: Subject) -> Iterator[Finding]:
    """Yield the tables with rows that no foreign key has looked at, those that dangle first."""
    for each in sorted(subject.unchecked, key=lambda key: key.rows == 0):
        step = next(step for step in subject.steps if step.id == each.step_id)
        found = finding(
            "foreign-key-unchecked", step, each.relation, _message(each), evidence=[_evidence(each)]
        )
        yield replace(found, severity="notice") if each.rows == 0 else found


def _message(key: UncheckedKey) -> str:
    if key.rows:
        refer = "refers" if key.rows == 1 else "refer"
        return (
            f"{count(key.rows, 'row')} of {key.relation} {refer} to no row of {key.target}: the "
            "foreign key was off while rows were written"
        )
    written = f"Rows are written while the foreign key of {key.relation} to {key.target} is off"
    if key.rows is None:
        return f"{written}, and there was no time to look whether each refers to a row"
    return f"{written}: all refer to a row here, and PostgreSQL won't look in production"


def _evidence(key: UncheckedKey) -> str:
    rows = "unknown after 5 s" if key.rows is None else count(key.rows, "row")
    return f"{key.constraint}, without a row of {key.target}: {rows}"
