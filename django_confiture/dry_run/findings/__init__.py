"""What a migration will do to those who use the database meanwhile, and what to write instead.

Each rule is a function over a :class:`~.subject.Subject`: the statements of one migration as they
were measured, with their parse trees. ``docs/findings.md`` lists the findings by id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from django_confiture.dry_run.findings.advice.of_operations import (
    MENDED,
    PRINTED,
    fixable,
    rewriting,
)
from django_confiture.dry_run.findings.advice.sentences import as_comment
from django_confiture.dry_run.findings.rules import (
    dangling_rows,
    failures,
    query_plans,
    row_locks,
    running_code,
    shared_values,
    statement,
    unnamed_columns,
    unseen_writes,
    whole_migration,
    writes,
)
from django_confiture.dry_run.findings.subject import Subject
from django_confiture.dry_run.results import Finding
from django_confiture.dry_run.rewriting.files import NotRewritten
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.formatting import one_line
from django_confiture.silencing import reasons_of_migration, reasons_of_operation

_RANK = {"danger": 0, "warning": 1, "notice": 2}


def findings_of(subject: Subject) -> tuple[Finding, ...]:
    """Return the findings of one migration, the worst of each operation first."""
    damage = [each for step in subject.steps for each in statement.of_statement(subject, step)]
    found = [
        *damage,
        *writes.bulk_writes(subject, damage),
        *row_locks.rows_locked(subject),
        *whole_migration.across_statements(subject),
        *running_code.breaks_of_running_code(subject),
        *query_plans.regressed_plans(subject),
        *failures.known_failures(subject),
        *shared_values.rows_with_one_value(subject),
        *dangling_rows.rows_unchecked(subject),
        *unseen_writes.refused_behind_rows(subject),
        *unnamed_columns.columns_gone_unnamed(subject),
    ]
    ordered = sorted(_with_code(subject, _merged(found)), key=_place)
    said = [_silenced(subject, each) for each in ordered]
    return tuple(_marked(subject, said))


def _marked(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding]:
    """Yield the findings, with whether ``confiture_fix`` has a recipe for their operation."""
    operations = {each.operation for each in found if each.operation is not None}
    known = {index for index in operations if fixable(subject, index, found)}
    for each in found:
        yield replace(each, fixable=each.operation in known and each.id in MENDED)


def _with_code(subject: Subject, found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings with the code that takes their operation's place, where there is one."""
    advice: dict[int, str] = {}
    for each in found:
        if each.operation is None or each.id not in PRINTED:
            yield each
            continue
        if each.operation not in advice:
            advice[each.operation] = _code(subject, each.operation)
        code = advice[each.operation]
        yield replace(each, advice=f"{each.advice}\n{code}" if code.startswith("#") else code)


def _code(subject: Subject, index: int) -> str:
    """Return the code that takes an operation's place, or a comment that says why there is none."""
    shared = {each.step_id for each in subject.shared}
    own_values = any(step.id in shared for step in subject.steps if step.operation == index)
    new = rewriting(subject, index, own_values=own_values)
    if isinstance(new, NotRewritten):
        return as_comment(f"There is no code for the whole operation: {new.reason}.")
    try:
        return snippet(new.files)
    except ValueError as error:  # what Django's writer can't write, such as a lambda
        return as_comment(f"There is no code for the operation: {one_line(error)}")


def _place(finding: Finding) -> tuple[int, int]:
    index = finding.operation
    return -1 if index is None else index, _RANK[finding.severity]


def _merged(found: Iterable[Finding]) -> list[Finding]:
    """Make one finding of what several statements of an operation do to the same table.

    What is not measured is of one column or key: each is a separate finding.
    """
    unique: dict[tuple[str, int | None, str | None, str], Finding] = {}
    for each in found:
        what = each.message if each.basis == "policy" else ""
        key = (each.id, each.operation, each.relation, what)
        known = unique.get(key)
        unique[key] = each if known is None else _both(known, each)
    return list(unique.values())


def _both(one: Finding, other: Finding) -> Finding:
    evidence = tuple(dict.fromkeys([*one.evidence, *other.evidence]))
    advice = "\n".join(dict.fromkeys([one.advice, other.advice]))
    statements = tuple(dict.fromkeys([*one.statements, *other.statements]))
    return replace(one, evidence=evidence, advice=advice, statements=statements)


def _silenced(subject: Subject, finding: Finding) -> Finding:
    reasons = dict(reasons_of_migration(subject.migration))
    if finding.operation is not None:
        reasons.update(reasons_of_operation(subject.migration.operations[finding.operation]))
    return replace(finding, silenced=reasons.get(finding.id))
