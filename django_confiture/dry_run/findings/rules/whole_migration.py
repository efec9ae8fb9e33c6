"""What only a look at all statements of a migration shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from django_confiture.dry_run.findings.finding import finding, shortened
from django_confiture.dry_run.findings.subject import JudgedStatement, Subject
from django_confiture.dry_run.results import Finding


def across_statements(subject: Subject) -> Iterator[Finding]:
    """Yield what the statements of a migration do together."""
    yield from _repeated_rewrites(subject)
    if not subject.lock_timeout:
        yield from _no_lock_timeout(subject)


def _repeated_rewrites(subject: Subject) -> Iterator[Finding]:
    rewriting: dict[str, list[JudgedStatement]] = defaultdict(list)
    for step in subject.steps:
        for table in step.result.rewrites:
            rewriting[table].append(step)
    for table, steps in rewriting.items():
        if len(steps) > 1:
            yield finding(
                "repeated-rewrites",
                steps[-1],
                table,
                f"{table} is rewritten {len(steps)} times in one migration",
                evidence=[shortened(step.result.text) for step in steps],
            )


def _no_lock_timeout(subject: Subject) -> Iterator[Finding]:
    for step in subject.steps:
        for table, mode in step.locks.items():
            if mode.blocks_writes:
                yield finding(
                    "no-lock-timeout",
                    step,
                    table,
                    "Nothing limits the wait for a lock, and all other sessions queue behind it",
                    evidence=[
                        f"waits for {mode.name} on {table} without a limit",
                        "reported once; it applies to the migrations after this one too",
                    ],
                )
                return
