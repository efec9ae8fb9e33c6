"""The code that takes an operation's place, for all findings of that operation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from django.db import router
from django.db.migrations import AddField, CreateModel
from django.db.migrations.operations.base import Operation
from django.db.models import CharField, TextField

from django_confiture.dry_run.findings.subject import JudgedStatement, Subject
from django_confiture.dry_run.results import Finding, StatementResult
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.one_file import reasons_for_one_file
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.replaced import dropped_by, made_by

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
PRINTED = SOLVED | {"same-value-for-all-rows"}
"""The findings in whose place code is printed. What rows get of it may be more than before."""
WHILE_LOCKED = frozenset(
    {
        "backfill-while-locked",
        "rows-locked-while-working",
        "validate-while-locked",
        "work-while-locked",
    }
)
"""Findings caused by locks of earlier operations; a separate file removes them."""

MENDED = (
    SOLVED
    | WHILE_LOCKED
    | {
        "identity-column-rewrite",
        "primary-key-scan",
        "refresh-blocks-reads",
        "reindex-blocks-writes",
        "type-change-rewrite",
        "volatile-default-rewrite",
    }
)
"""The findings that ``confiture_fix`` can rid an operation of."""


def mended_alone(operation: Operation, dangers: Collection[Finding]) -> bool:
    """Return whether a separate file is all that an operation needs.

    The foreign keys of a new table are made at the end of its migration: while it is empty.
    What running code can't do any more, it can't in either form.
    """
    new_table = type(operation) is CreateModel or (
        type(operation) is AddField and operation.field.many_to_many
    )
    mended = WHILE_LOCKED | {"foreign-key-scan"} if new_table else WHILE_LOCKED
    harm = {each.id for each in dangers} - {"running-code-breaks"}
    return bool(harm) and harm <= mended


def fixable(subject: Subject, index: int, found: Iterable[Finding]) -> bool:
    """Return whether ``confiture_fix`` has a recipe for an operation with these findings."""
    own = [each for each in found if each.operation == index and each.silenced is None]
    if not any(each.id in MENDED for each in own) or any(reasons_for_one_file(subject.migration)):
        return False
    dangers = [each for each in own if each.severity == "danger"]
    if _drops_again(subject):
        return False
    return isinstance(rewriting(subject, index), Rewriting) or mended_alone(
        subject.migration.operations[index], dangers
    )


def _drops_again(subject: Subject) -> bool:
    """Return whether a migration drops what an earlier operation of it makes.

    As files of their own, what is there only for a moment now would be there between them.
    """
    made: set[tuple[str, str, str]] = set()
    for step in subject.steps:
        if made.intersection(dropped_by(step.statement)):
            return True
        made |= {name for name, _sql in made_by(step.statement)}
    return False


def rewriting(
    subject: Subject, index: int, *, own_values: bool = False
) -> Rewriting | NotRewritten:
    """Return what an operation of a rehearsed migration becomes.

    With ``own_values`` the rows of a new column get a value each.
    """
    operation = subject.migration.operations[index]
    steps = [step for step in subject.steps if step.operation == index]
    before = [e for e in subject.steps if e.operation is not None and e.operation < index]
    known = subject.known.after(each.statement for each in before)
    if own_values and type(operation) is not AddField:
        return NotRewritten("the database has the field before the models do")
    if subject.result.error is not None and not (own_values and _is_all_known(operation)):
        return NotRewritten("the migration fails, so not all of its statements are known")
    if not subject.forward:
        return NotRewritten("the migration is taken back")
    return rewriting_of(
        operation,
        [step.statement for step in steps],
        Facts(
            subject.migration.app_label,
            partitioned=_partitioned(steps),
            routed=bool(router.routers),
            working=frozenset(step.statement.sql for step in steps if works(step.result)),
            rewriting=frozenset(step.statement.sql for step in steps if step.result.rewrites),
            indexes=known.indexes,
            constraints=known.constraints,
            keys=known.keys,
            partitions=known.partitions,
            required=known.required,
            plain=known.plain,
            counting=known.counting,
            own_functions=known.own_functions,
            defaults=known.defaults,
            comments=known.comments,
            types=known.types,
            partition_indexes=subject.partition_indexes,
            written=_written(subject, index),
            own_values=own_values,
        ),
    )


def _is_all_known(operation: Operation) -> bool:
    """Return whether the first statement of an AddField says all that it makes of the column.

    A text that is unique gets a second index, after the first has failed.
    """
    return type(operation) is AddField and not isinstance(operation.field, CharField | TextField)


def _written(subject: Subject, index: int) -> frozenset[str]:
    """Return the tables of which an operation, and those before it, write rows."""
    return frozenset(
        name
        for step in subject.steps
        if step.operation is not None and step.operation <= index
        for write in step.result.writes
        for name in (write.relation, write.relation.rpartition(".")[2])
    )


def works(statement: StatementResult) -> bool:
    """Return whether a statement read, wrote or built something that was there before it."""
    return bool(
        statement.rewrites or statement.scans or statement.writes or statement.indexes_built
    )


def _partitioned(steps: Sequence[JudgedStatement]) -> frozenset[str]:
    found = {name for step in steps for name in step.locks if step.kinds.get(name) == "p"}
    return frozenset(found | {name.rpartition(".")[2] for name in found})
