"""Whether a failure says something about the values that were made up, not about the schema."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Model

from django_confiture.dry_run.running_code.catalog.table import Table
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.instances.values import is_text
from django_confiture.dry_run.running_code.probes.probe import Probe

_OF_TEXT = ("22001", "22P02")
"""Too long, and none of the column's type, such as an enum that has lost a value."""


def is_of_values(
    probe: Probe,
    failure: Failure,
    model: type[Model],
    tables: Iterable[Table],
    *,
    same_types: bool,
) -> bool:
    """Return whether it fails for a value that was made up and that the release may never write.

    What is computed from a number as large as it can be may overflow; a text as long as it can be
    is an ordinary one. And a number or UUID that the release does not know to be a key leads
    nowhere: its code writes those that are there. A text may be any. ``same_types`` says whether
    the columns have the types that they had when the value was made up.
    """
    if probe.is_untold:
        return failure.is_of_values or failure.gave_up or failure.sqlstate is None
    if probe.constraint is not None:
        return probe.is_beside(failure.constraint)
    if probe.variant is None or probe.variant.captured:
        return failure.is_protected
    if failure.sqlstate == "23503":
        return _is_of_bare_key(failure, model, tables)
    is_overflow = same_types and is_of_extreme(probe, failure)
    return is_overflow or probe.meets_another_row(failure.sqlstate)


def is_of_extreme(probe: Probe, failure: Failure) -> bool:
    """Return whether a number fails that is as large or as small as its field allows."""
    extreme = probe.variant is not None and probe.variant.level in ("least", "most")
    return extreme and (failure.sqlstate or "")[:2] == "22" and failure.sqlstate not in _OF_TEXT


def is_of_schema(model: type[Model], failure: Failure) -> bool:
    """Whether a failure is of what the schema is, not of the values that were made up."""
    if failure.sqlstate == "23502":
        return failure.column not in {each.column for each in model._meta.concrete_fields}
    return not failure.is_of_values and failure.sqlstate is not None


def _is_of_bare_key(failure: Failure, model: type[Model], tables: Iterable[Table]) -> bool:
    """Return whether the columns of the foreign key that fails are numbers to the release."""
    columns = {
        column
        for table in tables
        for key in table.outgoing
        if key.name == failure.constraint
        for column in key.columns
    }
    fields = [each for each in model._meta.concrete_fields if each.column in columns]
    return bool(fields) and not any(each.is_relation or is_text(each) for each in fields)
