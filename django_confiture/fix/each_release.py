"""What the running code of each release can't do any more, where files wait for the next one.

A statement that fails says one reason. So the breaks themselves are compared, not how many models
have some: what the original hides behind another break shows where it is rehearsed without the
operations that wait.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.db.migrations.migration import Migration

from django_confiture.dry_run.results import Report
from django_confiture.dry_run.results.deploy import Break
from django_confiture.dry_run.rewriting.names import object_name
from django_confiture.fix.files.loading import loaded, pending
from django_confiture.fix.proposal import Proposal
from django_confiture.fix.rehearsals.proof import made_by_both
from django_confiture.fix.rehearsals.rehearsing import Ending, rehearsed
from django_confiture.fix.rehearsals.rows import RowsToRead

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_NO_VALUE, _CHECK = "23502", "23514"
_NULL = re.compile(r'null value in column "(.+)" of relation "(.+)" violates')
_IS_SET = re.compile(r'violates check constraint "(.+)"')
_NOT_READ = RowsToRead(())
_Lost = tuple[str | None, str, str]


def of_each_release(
    wrapper: BaseDatabaseWrapper, migration: Migration, new: Proposal
) -> Iterator[Report]:
    """Yield the report of this release's files, and of the next one's after them."""
    count = len(new.files) - len(new.next_release)
    key = (migration.app_label, migration.name)
    for now in (True, False):
        _migration, missing = pending(wrapper, key)
        with loaded(migration, new.files) as migrations:
            yield rehearsed(
                wrapper,
                migrations[:count] if now else migrations[count:],
                missing=missing if now else (),
                deployed=None if now else [*missing, *migrations[:count]],
                rows=_NOT_READ,
            ).report


def waiting(new: Proposal) -> frozenset[int]:
    """Return the operations of which a part waits for the next release."""
    return frozenset(origin for each in new.next_release for origin in new.origins[each.name])


@dataclass(frozen=True)
class NewBreaks:
    """What running code loses by the files, and not by the original, as far as that shows."""

    wrapper: BaseDatabaseWrapper
    migration: Migration
    original: Ending

    def beyond(self, this_release: Report) -> list[Break]:
        """Return the breaks that the rehearsal of the original doesn't show."""
        return _beyond(this_release.deploy.old_code, self.original)

    def told_apart(
        self, beyond: Sequence[Break], new: Proposal
    ) -> tuple[Sequence[Break], Sequence[Break]]:
        """Return what other breaks cover in the original, and what the files alone do."""
        rest = self._without_waiting(new) if beyond else None
        by_files = beyond if rest is None else _beyond(beyond, rest)
        return [each for each in beyond if each not in by_files], by_files

    def _without_waiting(self, new: Proposal) -> Ending | None:
        """Rehearse the original without the operations that wait; None where it fails."""
        key = (self.migration.app_label, self.migration.name)
        migration, missing = pending(self.wrapper, key)
        late = waiting(new)
        left = [each for index, each in enumerate(migration.operations) if index not in late]
        vars(migration)["operations"] = left
        ending = rehearsed(self.wrapper, [migration], missing=missing, rows=_NOT_READ)
        return None if ending.reached is None else ending


def _beyond(broken: Sequence[Break], original: Ending) -> list[Break]:
    """Return the breaks that the original doesn't show. NOT NULL is a CHECK at first."""
    both = {*made_by_both(broken, original)}
    known = {_lost(each) for each in original.report.deploy.old_code}
    checks = {*_checks_of_not_null(original.report)}
    return [
        _with_not_null(each, original)
        for each in broken
        if each not in both
        and _lost(each) not in known
        and (each.model, each.action, _constraint(each)) not in checks
    ]


def _lost(broken: Break) -> _Lost:
    return broken.model, broken.action, broken.error


def _constraint(broken: Break) -> str:
    found = _IS_SET.search(broken.error)
    return found[1] if found is not None and broken.sqlstate in (_CHECK, _NO_VALUE) else ""


def _checks_of_not_null(report: Report) -> Iterator[_Lost]:
    for each in report.deploy.old_code:
        if each.sqlstate == _NO_VALUE and (found := _NULL.search(each.error)):
            column, table = found[1], found[2]
            yield each.model, each.action, object_name(table, column, "is_set")


def _with_not_null(broken: Break, original: Ending) -> Break:
    """Return the break of a CHECK that stands for NOT NULL as one of NOT NULL."""
    assert original.reached is not None
    name = _constraint(broken)
    own = any(name == each for _kind, _table, each in original.reached.schema)
    return replace(broken, sqlstate=_NO_VALUE) if name.endswith("_is_set") and not own else broken
