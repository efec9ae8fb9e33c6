"""The order of the steps: an index or a constraint is dropped once what replaces it is there.

A new table is complete before it is filled.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.migrations import AddConstraint, AddIndex, CreateModel
from django.db.migrations.operations.base import Operation

from django_confiture.fix.proposal import RewriteStep


def replacements_first(steps: Sequence[RewriteStep]) -> list[RewriteStep]:
    """Return the steps with each that only drops behind those after it that only make.

    As files of their own, rows that break the constraint could come in between; and queries
    would go without the index.
    """
    ordered: list[RewriteStep] = []
    waiting: list[RewriteStep] = []
    for step in steps:
        if step.dropped:
            waiting.append(step)
            continue
        if not step.made or any(each.dropped & step.made for each in waiting):
            ordered += waiting
            waiting = []
        ordered.append(step)
    return [*ordered, *waiting]


def new_tables_complete_first(steps: Sequence[RewriteStep]) -> list[RewriteStep]:
    """Return the steps with the indexes and constraints of new models before data.

    Once a file has made the table, and another one has filled it, they would read its rows under a
    lock; and could not follow in the same transaction, since the foreign keys are there.
    """
    ordered: list[RewriteStep] = []
    made: set[str] = set()
    for step in steps:
        operation = step.operation
        place = len(ordered)
        if isinstance(operation, CreateModel):
            made.add(operation.name_lower)
        if isinstance(operation, AddConstraint | AddIndex) and operation.model_name_lower in made:
            place = _before_data(ordered, operation.model_name_lower)
        ordered.insert(place, step)
    return ordered


def _before_data(ordered: Sequence[RewriteStep], model_name: str) -> int:
    """Return the place before all data that comes after what changes a model's table."""
    place = len(ordered)
    for index in reversed(range(len(ordered))):
        step = ordered[index]
        if step.rows_alone:
            place = index
        elif not (step.state_alone or _is_of_another(step.operation, model_name)):
            break
    return place


def _is_of_another(operation: Operation, model_name: str) -> bool:
    """Return whether an operation is about another model's fields, indexes or constraints."""
    return getattr(operation, "model_name_lower", model_name) != model_name
