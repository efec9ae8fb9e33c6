"""Breaks of the running release that another break covered.

A statement that fails fails for one reason. Where an INSERT of the running release misses a column
that the migration drops, it can't be seen that it would miss a value for another one, too: until
the files are rehearsed that drop the first in the next release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from django.db.migrations import AddField
from django.db.migrations.migration import Migration

from django_confiture.dry_run.results import Report
from django_confiture.dry_run.results.deploy import Break
from django_confiture.fix.proposal import Proposal


def uncovered(
    migration: Migration, new: Proposal, this_release: Report, kept: Sequence[int]
) -> Mapping[int, Sequence[Break]]:
    """Return the new columns, of those operations that are kept, that break running code.

    ``this_release`` reports the files that don't wait for the next one.
    """
    found: dict[int, list[Break]] = {}
    for each in this_release.deploy.old_code:
        for index in _causes(migration, new, each):
            if index in kept:
                found.setdefault(index, []).append(each)
    return found


def _causes(migration: Migration, new: Proposal, broken: Break) -> Iterator[int]:
    """Yield the operations that may be what breaks it, where they add a column."""
    name = (broken.migration or "").partition(".")[2]
    origins = sorted(new.origins.get(name, ()))
    if broken.operation is not None:
        origins = origins[broken.operation : broken.operation + 1]
    for index in origins:
        operation = migration.operations[index]
        if type(operation) is AddField and not operation.field.null:
            yield index
