"""Judges again what can't be fixed as it is: in pieces, or in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.db.migrations import AlterField
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation

from django_confiture.fix.files.loading import pending
from django_confiture.fix.judging.backwards import taken_back
from django_confiture.fix.judging.judging import Releases, judgments
from django_confiture.fix.judging.judgment import Judgment
from django_confiture.fix.judging.reordering import altered_again, reordered
from django_confiture.fix.judging.splitting import split
from django_confiture.fix.rehearsals.rehearsing import rehearsed
from django_confiture.fix.rehearsals.rows import RowsToRead

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Judged = tuple[Judgment, ...]
"""The judgments of an operation's pieces; there is one where it is whole."""


@dataclass(frozen=True)
class OtherForms:
    """The other forms of a migration, each rehearsed and judged."""

    wrapper: BaseDatabaseWrapper
    migration: Migration
    releases: Releases

    def together(self, judged: Sequence[Judged]) -> Sequence[Judged] | None:
        """Return the judgments with AlterFields of one field as one, where the first waits.

        What is changed after it would be changed of the old column.
        """
        operations = self.migration.operations
        retyping = [
            i for i, (e, *_) in enumerate(judged) if type(e.operation) is AlterField and e.waits
        ]
        into = altered_again(operations, retyping)
        left = [index for index in range(len(operations)) if index not in into]
        new = self._judged([operations[index] for index in left]) if into else None
        if new is None:
            return None
        again = dict(zip(left, new, strict=True))
        return [
            (again[index],) if index in again
            else (Judgment(group[0].operation, "fixed", group[0].finding, done_by=into[index]),)
            for index, group in enumerate(judged)
        ]  # fmt: skip

    def in_pieces(self, judged: Sequence[Judged]) -> Sequence[Judged]:
        """Return the judgments with those of the pieces of what can't be rewritten as a whole."""
        for type_last in (False, True)[: self.releases.count]:
            if any(group[0].outcome == "refused" for group in judged):
                judged = self._in_pieces_of_order(judged, type_last=type_last)
        return judged

    def in_another_order(
        self, judged: Sequence[Judged]
    ) -> tuple[Sequence[int], Sequence[Judged]] | None:
        """Return another order of the operations, and their judgments in it, where it helps.

        A view has the old names of what is renamed, and other changes of the table are refused
        behind it; a column of another type has the indexes and constraints that were there when
        it was made. Both go well where they come last. What can't go before a renaming may wait
        for the next release.
        """
        whole = {index: group[0] for index, group in enumerate(judged) if len(group) == 1}
        left = [index for index, group in enumerate(judged) if group[0].done_by is None]
        renaming = {index for index, each in whole.items() if each.behind_view}
        retyping = {
            index
            for index, group in enumerate(judged)
            if any(type(each.operation) is AlterField and each.waits for each in group)
            and index not in renaming
        }
        found = reordered(
            [self.migration.operations[index] for index in left],
            renaming=[place for place, index in enumerate(left) if index in renaming],
            retyping=[place for place, index in enumerate(left) if index in retyping],
        )
        order = {left[place]: operation for place, operation in found.items()}
        if [*order] == left and not renaming:
            return None
        new = self._judged_in(order, judged)
        return None if new is None else ([*order], new)

    def _judged_in(
        self, order: Mapping[int, Operation], judged: Sequence[Judged]
    ) -> Sequence[Judged] | None:
        """Return the judgments in another order; pieces, which have their types last, as such."""
        operations = [
            (index, each)
            for index, moved in order.items()
            for each in ([moved] if len(judged[index]) == 1 else _operations_of(judged[index]))
        ]
        in_order = [operation for _index, operation in operations]
        in_pieces = any(len(group) > 1 for group in judged)
        new = self._judged(in_order, waiting=True)
        pieces = self._judged(in_order, not_null_waits=False) if in_pieces else new
        if new is None or pieces is None:
            return None
        again = list(zip(operations, new, pieces, strict=True))
        return [
            self._regrouped(group, [(one, piece) for (i, _), one, piece in again if i == index])
            for index, group in enumerate(judged)
        ]

    @staticmethod
    def _regrouped(was: Judged, again: Sequence[tuple[Judgment, Judgment]]) -> Judged:
        """Return the new judgments of an operation; those it had where its pieces are no good."""
        if len(was) == 1:
            return (again[0][0],) if again else was
        pieces = [piece for _one, piece in again]
        if any(each.outcome == "refused" for each in pieces):
            return was
        return (replace(pieces[0], dangers=was[0].dangers), *pieces[1:])

    def _in_pieces_of_order(self, judged: Sequence[Judged], *, type_last: bool) -> Sequence[Judged]:
        key = (self.migration.app_label, self.migration.name)
        migration, _missing = pending(self.wrapper, key)
        state = MigrationExecutor(self.wrapper).loader.project_state(key, at_end=False)
        origins: list[int] = []
        operations: list[Operation] = []
        for index, operation in enumerate(migration.operations):
            if judged[index][0].done_by is not None:
                continue
            found = [operation]
            if judged[index][0].outcome == "refused":
                found = list(split(operation, state, key[0], type_last=type_last))
            operations += found
            origins += [index] * len(found)
            operation.state_forwards(migration.app_label, state)
        if len(operations) == len(set(origins)):
            return judged
        found_again = self._judged(operations, not_null_waits=not type_last)
        if found_again is None:
            return judged
        again = list(zip(origins, found_again, strict=True))
        grouped = [tuple(e for origin, e in again if origin == i) for i in range(len(judged))]
        return [
            was if len(new) < 2 or any(each.outcome == "refused" for each in new)
            or any(each.waits for each in new[:-1])
            else (replace(new[0], dangers=was[0].dangers), *new[1:])
            for was, new in zip(judged, grouped, strict=True)
        ]  # fmt: skip

    def _judged(
        self,
        operations: Sequence[Operation],
        *,
        waiting: bool = False,
        not_null_waits: bool = True,
    ) -> Sequence[Judgment] | None:
        """Return the judgments of other operations in the migration; None where they fail."""
        key = (self.migration.app_label, self.migration.name)
        migration, missing = pending(self.wrapper, key)
        vars(migration)["operations"] = list(operations)
        ending = rehearsed(self.wrapper, [migration], missing=missing, rows=RowsToRead(()))
        if ending.reached is None:
            return None
        spread = self.releases
        if spread.count == 2:
            backwards = taken_back(self.wrapper, key, operations)
            spread = Releases(2, backwards, not_null_waits=not_null_waits)
        return judgments(migration, ending, spread, waiting=waiting)


def _operations_of(group: Judged) -> list[Operation]:
    return [each.operation for each in group]
