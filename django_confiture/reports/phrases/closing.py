"""How a dry run ended, and the limits of its report: one sentence each."""

from __future__ import annotations

from django_confiture.dry_run.results import Report, ReverseResult
from django_confiture.formatting import count

_REVERSED = {
    "same": "Undone, and the schema is as it was before",
    "different": "Undone, but the schema is not as it was before",
    "irreversible": "It can't be undone",
    "failed": "Undoing it fails",
}


def coverage(report: Report) -> str:
    """Return how many operations were rehearsed as they are, in another form, or not wholly."""
    found = report.coverage
    uncaught = "ran SQL that was not caught, known by its effects alone"
    unseen = f" {count(found.unseen, 'operation')} {uncaught}." if found.unseen else ""
    elsewhere = (
        f" {count(found.skipped_by_router, 'operation')} not on this database (router)."
        if found.skipped_by_router
        else ""
    )
    partly = receivers_in_part(report)
    receivers = f" {count(partly, 'receiver')} in part or not at all." if partly else ""
    return (
        f"{count(found.exact, 'operation')} rehearsed exactly, "
        f"{found.substituted} in another form, {found.not_rehearsed} in part or not at all."
        f"{unseen}{elsewhere}{receivers}"
    )


def receivers_in_part(report: Report) -> int:
    """Count the receivers of signals that were not wholly rehearsed."""
    receivers = [each for of_signal in report.receivers for each in of_signal.operations]
    return sum(each.rehearsed == "not_rehearsed" for each in receivers)


def ending(report: Report) -> str:
    """Return what is left of the dry run in the database."""
    if report.clone is None and report.mode == "transaction":
        return "Everything was rolled back."
    if report.rolled_back:
        return "It ran on a clone, which was dropped."
    return "It ran on a clone, which could not be dropped."


def undone(reverse: ReverseResult) -> str:
    """Return how undoing the plan went, without a period."""
    return _REVERSED[reverse.outcome]
