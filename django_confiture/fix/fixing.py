"""Fix one migration: rehearse it, rewrite its operations, rehearse what came of it, compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from django.db.migrations.migration import Migration

from django_confiture.dry_run.results import Report
from django_confiture.dry_run.results.deploy import Break
from django_confiture.dry_run.rewriting.one_file import migration_file
from django_confiture.fix.breaks_left import with_breaks
from django_confiture.fix.each_release import NewBreaks, of_each_release
from django_confiture.fix.files.loading import NotLoadable, loaded, pending
from django_confiture.fix.files.written_files import WrittenFile, read_written
from django_confiture.fix.harm_left import (
    behind_refused,
    breaking,
    broken_by,
    hidden_before,
    index_left_behind,
    numbering,
    still_harmful,
)
from django_confiture.fix.judging.backwards import taken_back
from django_confiture.fix.judging.judging import Releases, judgments
from django_confiture.fix.judging.judgment import Judgment, outcomes_of
from django_confiture.fix.judging.obstacles import AppliedElsewhere, obstacles
from django_confiture.fix.judging.operation_results import there_for_a_moment
from django_confiture.fix.judging.pieces import Judged, OtherForms
from django_confiture.fix.judging.taken_names import passed_by
from django_confiture.fix.ordering import new_tables_complete_first, replacements_first
from django_confiture.fix.outcomes import Fix, OperationOutcome, Proof
from django_confiture.fix.proposal import Proposal, RewriteStep, proposed
from django_confiture.fix.reduced_case import reduced_case
from django_confiture.fix.rehearsals.proof import proof_of
from django_confiture.fix.rehearsals.rehearsing import Ending, rehearsed, varying_columns
from django_confiture.fix.rehearsals.rows import RowsToRead
from django_confiture.fix.uncovered import uncovered

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def fix_migration(
    wrapper: BaseDatabaseWrapper,
    key: tuple[str, str],
    *,
    elsewhere: AppliedElsewhere,
    releases: int = 1,
    overridden: bool = False,
) -> Fix:
    """Return what becomes of a pending migration, with the proof where something is fixed.

    ``overridden`` says that its files go into a package of the project, for an installed app.
    """
    migration, missing = pending(wrapper, key)
    label = ".".join(key)
    if reasons := list(obstacles(migration, elsewhere, overridden=overridden)):
        return Fix(label, tuple(_all_refused(migration, "; ".join(reasons))))
    original = rehearsed(wrapper, [migration], missing=missing, rows=RowsToRead())
    if original.reached is None:
        return Fix(label, tuple(_all_refused(migration, f"it fails: {original.why_failed}")))
    spread = Releases(releases)
    if releases == 2:
        spread = Releases(2, taken_back(wrapper, key, migration.operations))
    judged = [(each,) for each in judgments(migration, original, spread)]
    return _Fixing(wrapper, migration, original, spread).fixed(judged)


@dataclass(frozen=True)
class _Fixing:
    """One migration that is being fixed."""

    wrapper: BaseDatabaseWrapper
    migration: Migration
    original: Ending
    releases: Releases
    order: Sequence[int] = ()
    """The indexes of the operations in the order of the files, where it is another one."""

    @property
    def label(self) -> str:
        return f"{self.migration.app_label}.{self.migration.name}"

    def fixed(self, judged: Sequence[Judged]) -> Fix:
        """Return the fix, of several changes of a field as one where that helps."""
        forms = OtherForms(self.wrapper, self.migration, self.releases)
        written = read_written(migration_file(self.migration))
        if together := forms.together(judged):
            fix = self._in_best_order(forms, together, written)
            if fix.proof is not None and fix.proof.holds:
                return fix
        return self._in_best_order(forms, judged, written)

    def _in_best_order(
        self, forms: OtherForms, judged: Sequence[Judged], written: WrittenFile | None
    ) -> Fix:
        """Return the fix, of the operations in another order where that helps."""
        judged = self._without_moments(forms.in_pieces(judged))
        if another := forms.in_another_order(judged):
            order, judged_then = another
            fix = replace(self, order=order)._settled(judged_then, written)
            if fix.proof is not None and fix.proof.holds:
                return fix
        fix = self._settled(judged, written)
        left = index_left_behind(self.migration.operations)
        if left is not None and fix.proof is not None and not fix.proof.holds:
            return Fix(self.label, tuple(_all_refused(self.migration, left)))
        return fix

    def _without_moments(self, judged: Sequence[Judged]) -> Sequence[Judged]:
        """Return the judgments; refusals where a constraint is made and dropped again."""
        results = self.original.report.migrations[-1].operations
        moments = there_for_a_moment(self.migration, results)
        fixed = [i for i in moments if any(each.outcome == "fixed" for each in judged[i])]
        reason = (
            "the migration makes the constraint {} and drops it again: in files of their own, it "
            "would be there between them, and running code could break it. Leave out "
            "both, or put what drops it into a migration of its own"
        )
        return self._without(judged, {index: reason.format(moments[index]) for index in fixed})

    def _settled(self, judged: Sequence[Judged], written: WrittenFile | None) -> Fix:
        """Return the fix; an operation that stays a danger in its new form is refused."""
        fix, judged = self._tried(judged, written)
        if fix.proof is None or fix.proof.holds:
            return fix
        if not fix.proof.rows_equal and (numbered := numbering(judged)):
            return self._tried(self._without(judged, numbered), written)[0]
        reason = _of_proof(fix.proof)
        candidates = [i for i, each in enumerate(fix.operations) if each.outcome == "fixed"]
        for index in reversed(candidates if len(candidates) > 1 else []):
            less = self._without(judged, {index: reason})
            smaller, _judged = self._tried(less, written)
            if smaller.proof is not None and smaller.proof.holds:
                return smaller
        return fix

    def _tried(
        self, judged: Sequence[Judged], written: WrittenFile | None
    ) -> tuple[Fix, Sequence[Judged]]:
        """Return the fix and the judgments that it comes from, without what still does harm."""
        own: dict[int | None, Sequence[Break]] = {}
        while True:
            judged = self._without(judged, passed_by(judged, self.order))
            outcomes = tuple(outcomes_of(self.migration, judged))
            if all(each.outcome != "fixed" for each in outcomes):
                return Fix(self.label, outcomes), judged
            try:
                steps = new_tables_complete_first(replacements_first([*self._steps(judged)]))
                new = proposed(self.migration, steps, written)
                ending = self._rehearsed(new)
            except ValueError as error:  # what Django's writer can't write
                return self._unwritable(f"it can't be written: {error}"), judged
            except NotLoadable as error:
                return self._unwritable(f"what it would become can't be loaded: {error}"), judged
            if less := self._without_harm(new, ending, outcomes, judged):
                judged = less
                continue
            reports = [ending.report]
            if new.next_release:
                reports = list(of_each_release(self.wrapper, self.migration, new))
                if again := self._uncovered(new, reports[0], judged, own):
                    judged = again
                    continue
            before = self.original, chain.from_iterable(own.values())
            proof = self._proven(new, judged, ending)
            proof = with_breaks(proof, reports, before, (new, outcomes))
            reduced = None
            if not proof.holds:
                differences = proof.differences
                reduced = reduced_case(self.original.report, ending.report, outcomes, differences)
            return Fix(self.label, outcomes, new.files, proof, reduced), judged

    def _without_harm(
        self,
        new: Proposal,
        ending: Ending,
        outcomes: Sequence[OperationOutcome],
        judged: Sequence[Judged],
    ) -> Sequence[Judged]:
        """Return the judgments without the harm that the files do; none where they do none."""
        harmful = still_harmful(new, ending, outcomes)
        if not new.next_release:
            harmful |= breaking(new, ending, outcomes, self.original)
        if harmful:
            return self._without(judged, harmful)
        hidden = hidden_before(new, ending, outcomes)
        if not hidden:
            return ()
        return [
            tuple(piece.of_its_own(hidden[i]) for piece in each) if i in hidden else each
            for i, each in enumerate(judged)
        ]

    def _steps(self, judged: Sequence[Judged]) -> Iterator[RewriteStep]:
        for index in self.order or range(len(judged)):
            group = judged[index] if judged[index][0].done_by is None else ()
            for each in group:
                piece = len(group) > 1 or each.operation is not self.migration.operations[index]
                operation = each.operation if piece else self.migration.operations[index]
                none: frozenset[str] = frozenset()
                done = (each.made, each.dropped) if not piece else (none, none)
                does = each.rows_alone, each.state_alone
                yield RewriteStep(index, operation, each.rewriting, each.alone, piece, *done, *does)

    def _uncovered(
        self,
        new: Proposal,
        this_release: Report,
        judged: Sequence[Judged],
        own: dict[int | None, Sequence[Break]],
    ) -> Sequence[Judged]:
        """Return the judgments with covered harm, which is noted in ``own``; or none."""
        kept = [index for index, each in enumerate(judged) if each[0].outcome == "kept"]
        asked = NewBreaks(self.wrapper, self.migration, self.original)
        beyond = asked.beyond(this_release)
        found = uncovered(self.migration, new, this_release, beyond, kept)
        found = {index: each for index, each in found.items() if index not in own}
        if found:
            own.update(found.items())
            again = list(judgments(self.migration, self.original, self.releases, uncovered=found))
            return [(again[i],) if i in found else each for i, each in enumerate(judged)]
        own[None], by_fix = asked.told_apart(beyond, new)
        return self._without(judged, broken_by(new, by_fix)) if by_fix else ()

    def _without(self, judged: Sequence[Judged], harmful: Mapping[int, str]) -> list[Judged]:
        """Return the judgments with refusals; with an operation goes what it does for others."""
        others = {
            index: harmful[by]
            for index, group in enumerate(judged)
            if (by := group[0].done_by) is not None and by in harmful
        }
        harmful = {**behind_refused(judged, harmful), **others, **harmful}
        return [
            (self._whole(i, each).refused(harmful[i]),) if i in harmful else each
            for i, each in enumerate(judged)
        ]

    def _whole(self, index: int, group: Judged) -> Judgment:
        """Return the judgment of the operation as it stands in the migration, without pieces."""
        whole = self.migration.operations[index]
        return group[0] if len(group) == 1 else replace(group[0], operation=whole)

    def _unwritable(self, reason: str) -> Fix:
        return Fix(self.label, tuple(_all_refused(self.migration, reason)))

    def _rehearsed(self, new: Proposal, rows: RowsToRead | None = None) -> Ending:
        """Rehearse the files, and read the rows that were read of the original."""
        assert self.original.reached is not None
        key = (self.migration.app_label, self.migration.name)
        _migration, missing = pending(self.wrapper, key)
        rows = rows or RowsToRead([table for table, _column in self.original.reached.rows])
        with loaded(self.migration, new.files) as migrations:
            return rehearsed(self.wrapper, migrations, missing=missing, rows=rows)

    def _again(self, rows: RowsToRead) -> Ending:
        migration, missing = pending(self.wrapper, (self.migration.app_label, self.migration.name))
        return rehearsed(self.wrapper, [migration], missing=missing, rows=rows)

    def _proven(self, new: Proposal, judged: Sequence[Judged], ending: Ending) -> Proof:
        mended = sum(group[0].dangers for group in judged)
        names = {each.name for each in new.files}
        proof = proof_of(self.original, ending, names=names, mended=mended)
        if proof.rows_equal or ending.reached is None:
            return proof
        varying = varying_columns(self._again)
        if not varying:
            return proof
        assert self.original.reached is not None
        tables = [table for table, _column in self.original.reached.rows]
        rows = RowsToRead(tables, without=varying)
        return replace(
            proof_of(self._again(rows), self._rehearsed(new, rows), names=names, mended=mended),
            not_compared=tuple(
                f"{table}.{column}" for table, each in varying.items() for column in each
            ),
        )


def _all_refused(migration: Migration, reason: str) -> Iterator[OperationOutcome]:
    for index, each in enumerate(migration.operations):
        yield OperationOutcome(index, each.describe(), None, "refused", reason)


def _of_proof(proof: Proof) -> str:
    if proof.differences:
        why = proof.differences[0]
    else:
        why = "it leaves more harm" if proof.reversible else "it can't be taken back"
    return (
        f"its new form fails the proof: {why}. Put it into a migration of its own, and try "
        "confiture_fix on that"
    )
