"""Breaks of the running release that another break covered.

A statement that fails fails for one reason. Where an INSERT of the running release misses a column
that the migration drops, it can't be seen that it would miss a value for another one, too, or that
another column is gone: until the files are rehearsed that drop the first in the next release. So
it is with a table that is dropped, and a column of it that is removed before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from django.db.migrations import AddField
from django.db.migrations.migration import Migration

from django_confiture.dry_run.results import Report
from django_confiture.dry_run.results.deploy import Break
from django_confiture.dry_run.rewriting.two_releases.removals import REMOVING
from django_confiture.fix.proposal import Proposal


def uncovered(
    migration: Migration, new: Proposal, this_release: Report, kept: Sequence[int]
) -> Mapping[int, Sequence[Break]]:
    """Return those of the kept operations that break running code, with what it can't do.

    They are new columns, and what is removed.

    ``this_release`` reports the files that don't wait for the next one.
    """
    found: dict[int, list[Break]] = {}
    for each in this_release.deploy.old_code:
        for index in _causes(migration, new, each):
            if index in kept:
                found.setdefault(index, []).append(each)
    return found


def _causes(migration: Migration, new: Proposal, broken: Break) -> Iterator[int]:
    """Yield the operations that may be what breaks it, where they can be spread."""
    name = (broken.migration or "").partition(".")[2]
    origins = sorted(new.origins.get(name, ()))
    if broken.operation is not None:
        origins = origins[broken.operation : broken.operation + 1]
    for index in origins:
        operation = migration.operations[index]
        is_new = type(operation) is AddField and not operation.field.null
        if is_new or type(operation) in REMOVING:
            yield index
