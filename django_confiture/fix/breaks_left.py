"""What running code loses by the files of a proposal, as by the original, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from django_confiture.dry_run.results import Report
from django_confiture.dry_run.results.deploy import Break
from django_confiture.fix.outcomes import BreakLeft, OperationOutcome, Proof
from django_confiture.fix.proposal import Proposal
from django_confiture.fix.rehearsals.proof import actions_of, breaks_of, made_by_both
from django_confiture.fix.rehearsals.rehearsing import Ending
from django_confiture.formatting import listed


def with_breaks(
    proof: Proof,
    reports: Sequence[Report],
    rehearsed: tuple[Ending, Iterable[Break]],
    made: tuple[Proposal, Sequence[OperationOutcome]],
) -> Proof:
    """Return the proof with what the running code of each release loses.

    ``reports`` has one of all files, or one of each release's. ``rehearsed`` is the original, and
    breaks of it that others covered in its rehearsal.
    """
    original, covered = rehearsed
    broken = [each for report in reports for each in report.deploy.old_code]
    by_both = actions_of(made_by_both(broken, original))
    before = breaks_of(original.report) | by_both | actions_of(covered)
    return replace(
        proof,
        running_code_breaks_before=len(before),
        running_code_breaks_after=len(actions_of(broken)),
        running_code_breaks_left=tuple(_left(broken, *made)),
    )


def _left(
    broken: Sequence[Break], new: Proposal, outcomes: Sequence[OperationOutcome]
) -> Iterator[BreakLeft]:
    """Yield each action on a model that is lost, by the first file that it is lost by."""
    found = {(each.model, each.action): each for each in reversed(broken)}
    waiting = {each.name for each in new.next_release}
    for each in dict.fromkeys((one.model, one.action) for one in broken):
        one = found[each]
        file = (one.migration or "").partition(".")[2]
        operations = _operations(one, file, new)
        why = _why([outcomes[index] for index in operations])
        late = file in waiting
        yield BreakLeft(one.model, one.action, one.error, file, operations, why, late)


def _operations(broken: Break, file: str, new: Proposal) -> tuple[int, ...]:
    """Return the operations of the original that may be what breaks it."""
    kept = new.kept.get(file, ())
    if broken.operation is not None and broken.operation < len(kept):
        return (kept[broken.operation],)
    return tuple(sorted(new.origins.get(file, ())))


def _why(outcomes: Sequence[OperationOutcome]) -> str:
    for outcome, words in (("refused", "is refused, and stays"), ("kept", "stays")):
        named = [each for each in outcomes if each.outcome == outcome]
        if named:
            return f"{_numbered(named)} {words} as it is"
    if not outcomes:
        return "so it is with the original"
    return f"{_numbered(outcomes)} does so in any form, as in the original"


def _numbered(outcomes: Sequence[OperationOutcome]) -> str:
    return listed([f"{each.index + 1}. {each.description}" for each in outcomes])
