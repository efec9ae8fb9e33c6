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
    migration: Migration,
    new: Proposal,
    this_release: Report,
    beyond: Sequence[Break],
    kept: Sequence[int],
) -> Mapping[int, Sequence[Break]]:
    """Return the operations that break running code though they seemed not to, and what it loses.

    Those that are kept are new columns, and what is removed. What the original doesn't show
    (``beyond``) may come from any, where one alone can be it.

    ``this_release`` reports the files that don't wait for the next one.
    """
    found: dict[int, list[Break]] = {}
    for each in this_release.deploy.old_code:
        for index in _causes(migration, new, each):
            if index in kept:
                found.setdefault(index, []).append(each)
    for each in beyond:
        origins = _origins(new, each)
        if len(origins) == 1 and origins[0] not in found:
            found[origins[0]] = [each]
    return found


def _origins(new: Proposal, broken: Break) -> Sequence[int]:
    """Return the operations that the file, or its operation, that breaks it comes from."""
    name = (broken.migration or "").partition(".")[2]
    origins = sorted(new.origins.get(name, ()))
    if broken.operation is not None and len(origins) > 1:
        return origins[broken.operation : broken.operation + 1]
    return origins


def _causes(migration: Migration, new: Proposal, broken: Break) -> Iterator[int]:
    """Yield the operations that may be what breaks it, where they can be spread."""
    for index in _origins(new, broken):
        operation = migration.operations[index]
        is_new = type(operation) is AddField and not operation.field.null
        if is_new or type(operation) in REMOVING:
            yield index
