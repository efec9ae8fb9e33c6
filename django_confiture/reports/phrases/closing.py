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
    return (
        f"{count(found.exact, 'operation')} rehearsed exactly, "
        f"{found.substituted} in another form, {found.not_rehearsed} in part or not at all."
        f"{unseen}{elsewhere}"
    )


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
