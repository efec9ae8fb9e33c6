"""The harm that is left in the files of a proposal, by the operations that they come from."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.db.migrations import AddField, AlterField
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.findings.advice.of_operations import WHILE_LOCKED
from django_confiture.dry_run.results.deploy import Break
from django_confiture.fix.each_release import waiting
from django_confiture.fix.judging.judging import words_of_break
from django_confiture.fix.judging.judgment import Judgment
from django_confiture.fix.outcomes import OperationOutcome
from django_confiture.fix.proposal import Proposal
from django_confiture.fix.rehearsals.proof import (
    actions_of,
    breaks_of,
    dangers_of,
    made_by_both,
)
from django_confiture.fix.rehearsals.rehearsing import Ending


def still_harmful(
    new: Proposal, ending: Ending, outcomes: Sequence[OperationOutcome]
) -> dict[int, str]:
    """Return the operations that count as fixed though a danger is left, and which."""
    return {
        origin: finding.id
        for name, finding in dangers_of(ending.report, new.origins)
        for origin in new.origins[name]
        if outcomes[origin].outcome == "fixed"
    }


def hidden_before(
    new: Proposal, ending: Ending, outcomes: Sequence[OperationOutcome]
) -> dict[int, str]:
    """Return the operations that stay, and work under locks that others of their file take.

    In the report of the original, what harms the same table more may have hidden it.
    """
    found: dict[int, str] = {}
    for name, finding in dangers_of(ending.report, new.origins):
        if finding.id in WHILE_LOCKED and finding.operation is not None and len(new.kept[name]) > 1:
            origin = new.kept[name][finding.operation]
            if outcomes[origin].outcome == "kept":
                found[origin] = finding.id
    return found


def breaking(
    new: Proposal, ending: Ending, outcomes: Sequence[OperationOutcome], original: Ending
) -> dict[int, str]:
    """Return the operations whose files break running code that the original leaves alone."""
    before = breaks_of(original.report) | actions_of(
        made_by_both(ending.report.deploy.old_code, original)
    )
    fixed = {index for index, each in enumerate(outcomes) if each.outcome == "fixed"}
    found: dict[int, str] = {}
    for each in ending.report.deploy.old_code:
        origins = new.origins.get((each.migration or "").partition(".")[2], frozenset())
        if (each.model, each.action) not in before and origins:
            # Where it comes from one that stays as it is, it is the taking apart that does it.
            found |= dict.fromkeys(
                fixed & origins or fixed, f"between its files {words_of_break(each)}"
            )
    return found


def broken_by(new: Proposal, broken: Sequence[Break]) -> dict[int, str]:
    """Return the operations that wait, where that breaks what the original doesn't."""
    words = words_of_break(broken[0])
    return dict.fromkeys(waiting(new), f"where it waits for the next release {words}")


def behind_refused(
    judged: Sequence[Sequence[Judgment]], refused: Collection[int]
) -> dict[int, str]:
    """Return the operations whose files may name new columns that refused ones would have made."""
    if not any(each.waits for index in refused for each in judged[index]):
        return {}
    reason = "its files would need new columns that another operation, which is refused, makes"
    return {
        index: reason
        for index, group in enumerate(judged)
        if any(each.outcome == "fixed" and each.behind_new_columns for each in group)
    }


def numbering(judged: Sequence[Sequence[Judgment]]) -> dict[int, str]:
    """Return the operations that number rows, with what speaks against it where rows differ."""
    reason = (
        "in batches the rows would get other numbers than with the original, which goes by where "
        "they lie on disk"
    )
    return {
        index: reason
        for index, group in enumerate(judged)
        for each in group
        if each.rewriting is not None and each.rewriting.numbers_rows
    }


def index_left_behind(operations: Sequence[Operation]) -> str | None:
    """Return in words which index an AlterField should drop before Django has made it."""
    indexed: set[tuple[str, str]] = set()
    for operation in operations:
        if not isinstance(operation, AddField | AlterField):
            continue
        key = (operation.model_name_lower, operation.name_lower)
        has_index = getattr(operation.field, "db_index", False)
        if isinstance(operation, AddField) and has_index:
            indexed.add(key)
        elif key in indexed and not has_index:
            return (
                f"Django makes the index of {operation.name} when the migration ends, after the "
                "AlterField that should drop it, so the migration as it is leaves an index that "
                "the models don't have: leave db_index out of the AddField"
            )
    return None
