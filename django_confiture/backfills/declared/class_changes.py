"""Refuses to go on with a backfill whose class is another one than that it began with."""

from __future__ import annotations

from django_confiture.backfills.declared.declaration import Backfill
from django_confiture.backfills.models import BackfillRun
from django_confiture.exceptions import BackfillError


class BackfillChanged(BackfillError):  # noqa: N818 - its message says what to do
    """The class has changed since the backfill began."""


def has_changed(run: BackfillRun, backfill: Backfill) -> bool:
    """Return whether the backfill began with another class; False where that isn't known."""
    began_with, now = run.class_hash, backfill.class_hash
    return bool(began_with and now) and began_with != now


def refuse_changed(run: BackfillRun, backfill: Backfill, *, using: str) -> None:
    """Refuse to go on with another class; what is done by the old one can't be told apart."""
    run.refresh_from_db(using=using, fields=["class_hash"])
    if has_changed(run, backfill):
        raise BackfillChanged(why(run))


def why(run: BackfillRun) -> str:
    """Return what has happened, and the ways on."""
    return (
        f"{run.name} has changed since it began, so rows that are done could be done again. "
        "Workers that have the class as it was go on. If there are none any more, cancel it, and "
        "retry: it then begins again at the first key, with the class as it is now."
    )
