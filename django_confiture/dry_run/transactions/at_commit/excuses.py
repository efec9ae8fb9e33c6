"""Errors that a dry run meets only since it is one transaction that no migration commits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django_confiture.dry_run.transactions.at_commit.enum_values import (
    NO_COMMIT,
    is_committed_by_then,
)
from django_confiture.dry_run.transactions.at_commit.frozen_copies import (
    NOT_FROZEN,
    is_refused_here_alone,
)
from django_confiture.dry_run.transactions.at_commit.stamped_rows import (
    EQUAL_TIMES,
    is_of_equal_times,
)

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parsing.parser import Statement


def excuse(
    error: BaseException, together: Iterable[Statement], reasons: Iterable[str], server: int
) -> str:
    """Return why a real run would not have failed so; ``""`` if it might have.

    ``together`` are the statements of the real run's transaction that met with it, ``reasons`` say
    why the operation that failed is not exact.
    """
    together = list(together)
    if is_committed_by_then(error, together, server):
        return NO_COMMIT
    if is_refused_here_alone(error, together):
        return NOT_FROZEN
    return EQUAL_TIMES if is_of_equal_times(error, reasons) else ""
