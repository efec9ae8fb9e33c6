"""Why a probe failed, and whether that says something about the schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from django.db.models import ProtectedError, RestrictedError

_OF_COMMIT = "55P04"
_GAVE_UP = ("57014", "55P03", "40P01", "53100", "53200", _OF_COMMIT)
"""Canceled, no lock, deadlock, out of disk or memory, a new value of an enum: nothing is known."""
_SYNTAX_ERROR = "42601"


@dataclass(frozen=True)
class Failure:
    """The error that a probe met."""

    sqlstate: str | None
    error: str
    sql: str
    constraint: str | None = None
    column: str | None = None
    lacks_value: bool = False
    """Whether nothing could be sent: for some field no value is known."""

    @property
    def gave_up(self) -> bool:
        """Whether the cause is not the schema: a timeout, a lock of another session, no value."""
        return self.lacks_value or self.sqlstate in _GAVE_UP

    @property
    def is_of_commit(self) -> bool:
        """Whether an enum has that value as soon as the plan is committed, but not before."""
        return self.sqlstate == _OF_COMMIT

    @property
    def is_of_names(self) -> bool:
        """Whether a table or column is not there: no other values can help."""
        return self.sqlstate in ("42P01", "42703")

    @property
    def lacks_unique(self) -> bool:
        """Whether an ``ON CONFLICT`` names columns that are not unique."""
        return self.sqlstate == "42P10"

    @property
    def is_protected(self) -> bool:
        """Whether the release itself refuses to delete, as it would have before the plan."""
        return self.error.partition(":")[0] in (ProtectedError.__name__, RestrictedError.__name__)

    @property
    def is_of_generated(self) -> bool:
        """Whether a column that is GENERATED ALWAYS was given a value."""
        return self.sqlstate == "428C9"

    @property
    def is_of_values(self) -> bool:
        """Whether other values might have passed."""
        if self.sqlstate == _SYNTAX_ERROR:  # of a value: what the ORM sends has none itself
            return True
        return self.sqlstate is not None and self.sqlstate[:2] in ("22", "23", "P0")


def untold(what: str, release: Literal["running", "new"], failure: Failure) -> str:
    """Return in words that something fails which a release may do or not."""
    when = "after" if release == "running" else "before"
    said = f"no model tells if the {release} release does so; {when} the plan {failure.error}"
    return f"{what}: {said}"
