"""The next keys to do, by keyset: a batch costs the same at the end as at the beginning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import models


@dataclass(frozen=True)
class Window:
    """The rows of one batch: their keys lie above ``after`` and reach to ``last``."""

    after: Any
    """The last key of the batch before; None: from the first key on."""
    last: Any
    size: int
    """How many keys were asked for."""
    full: bool
    """Whether there were so many."""

    def of(self, rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Return those of ``rows`` that lie in the window."""
        return between(rows, self.after, self.last)


def between(rows: models.QuerySet[Any], after: Any, high: Any) -> models.QuerySet[Any]:
    """Return those of ``rows`` whose key lies above ``after`` and reaches to ``high``."""
    if after is not None:
        rows = rows.filter(pk__gt=after)
    return rows if high is None else rows.filter(pk__lte=high)


def next_window(rows: models.QuerySet[Any], *, after: Any, high: Any, size: int) -> Window | None:
    """Return the window of the next ``size`` keys up to ``high``; None where none is left.

    It spans keys whether or not they are still to be done, so that a batch is bounded in what it
    reads as well as in what it writes.
    """
    keys = between(rows, after, high).order_by("pk").values_list("pk", flat=True)
    for key in keys[size - 1 : size]:
        return Window(after, key, size, full=True)
    last = keys.last()
    return None if last is None else Window(after, last, size, full=False)
