"""The order of the steps: an index or a constraint is dropped once what replaces it is there.

A new table is complete before it is filled.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.migrations import AddConstraint, AddIndex, CreateModel, RunPython, RunSQL

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


def new_tables_complete_first(steps: Sequence[Step]) -> list[Step]:
    """Return the steps with the indexes and constraints of new models before data.

    Once a file has made the table, and another one has filled it, they would read its rows under a
    lock; and could not follow in the same transaction, since the foreign keys are there.
    """
    ordered: list[Step] = []
    made: set[str] = set()
    for step in steps:
        operation = step.operation
        place = len(ordered)
        if isinstance(operation, CreateModel):
            made.add(operation.name_lower)
        if isinstance(operation, AddConstraint | AddIndex) and operation.model_name_lower in made:
            while isinstance(ordered[place - 1].operation, RunPython | RunSQL):
                place -= 1
        ordered.insert(place, step)
    return ordered
