"""The code that takes an operation's place, for all findings of that operation."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import router

from django_confiture.dry_run.findings.subject import Step, Subject
from django_confiture.dry_run.results import StatementResult
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of

SOLVED = frozenset(
    {
        "backfill-in-one-transaction",
        "backfill-while-locked",
        "check-constraint-scan",
        "foreign-key-scan",
        "index-build-blocks-writes",
        "index-drop-blocks-reads",
        "not-null-scan",
        "unique-constraint-builds-index",
        "work-while-locked",
    }
)
"""The findings whose cause a recipe removes."""


def rewriting(subject: Subject, index: int) -> Rewriting | NotRewritten:
    """Return what an operation of a rehearsed migration becomes."""
    steps = [step for step in subject.steps if step.operation == index]
    if subject.result.error is not None:
        return NotRewritten("the migration fails, so not all of its statements are known")
    if not subject.forward:
        return NotRewritten("the migration is taken back")
    return rewriting_of(
        subject.migration.operations[index],
        [step.statement for step in steps],
        Facts(
            subject.migration.app_label,
            partitioned=_partitioned(steps),
            routed=bool(router.routers),
            working=frozenset(step.statement.sql for step in steps if works(step.result)),
            rewriting=frozenset(step.statement.sql for step in steps if step.result.rewrites),
        ),
    )


def works(statement: StatementResult) -> bool:
    """Return whether a statement read, wrote or built something that was there before it."""
    return bool(
        statement.rewrites or statement.scans or statement.writes or statement.indexes_built
    )


def _partitioned(steps: Sequence[Step]) -> bool:
    return any(step.kinds.get(name) == "p" for step in steps for name in step.locks)
