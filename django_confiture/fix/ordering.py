"""The order of the steps: an index or a constraint is dropped once what replaces it is there."""

from __future__ import annotations

from collections.abc import Sequence

from django_confiture.fix.proposal import Step


def replacements_first(steps: Sequence[Step]) -> list[Step]:
    """Return the steps with each that only drops behind those after it that only make.

    As files of their own, rows that break the constraint could come in between; and queries
    would go without the index.
    """
    ordered: list[Step] = []
    waiting: list[Step] = []
    for step in steps:
        if step.dropped:
            waiting.append(step)
            continue
        if not step.made or any(each.dropped & step.made for each in waiting):
            ordered += waiting
            waiting = []
        ordered.append(step)
    return [*ordered, *waiting]
