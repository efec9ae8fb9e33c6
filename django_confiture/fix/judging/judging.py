"""What becomes of each operation of a rehearsed migration."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from django.db.migrations import (
    AddField,
    AlterField,
    AlterOrderWithRespectTo,
    RunPython,
)
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.findings.advice.of_operations import MENDED, mended_alone
from django_confiture.dry_run.findings.advice.sentences import ASKS_FOR_TWO
from django_confiture.dry_run.results import Finding, OperationResult
from django_confiture.dry_run.results.deploy import Break
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.replaced import made_or_dropped
from django_confiture.dry_run.rewriting.two_releases.removals import (
    REMOVING,
    drops_constraint,
    drops_table,
    loosens,
    postponed,
    removes,
)
from django_confiture.dry_run.rewriting.two_releases.renames import RENAMING, renames
from django_confiture.dry_run.sql.parsing.parser import Statement
from django_confiture.fix.judging.behind_views import adds_indexes_and_constraints, around_views
from django_confiture.fix.judging.facts_of_rehearsal import REFERRED_TO, facts_of
from django_confiture.fix.judging.judgment import Judgment
from django_confiture.fix.judging.operation_results import (
    locked_by,
    own_results,
    renamed_indexes,
    statements_of,
    writes_rows_alone,
    written_by,
)
from django_confiture.fix.judging.taken_names import (
    TWO_RELEASES,
    columns_left,
    columns_taken,
    without_taken_names,
)
from django_confiture.fix.judging.waiting import Waiting
from django_confiture.fix.rehearsals.rehearsing import Ending

_BREAKS = "running-code-breaks"
_NO_SUCH_CONSTRAINT = "42P10"
"""The SQLSTATE of an ON CONFLICT whose unique constraint is gone."""
_NO_VALUE = "23502"
"""The SQLSTATE of a row without a value for a column that is NOT NULL."""
_SPREAD = (AddField, AlterOrderWithRespectTo, *REMOVING, *RENAMING)
"""The operations that can be spread over two releases, for the code that runs meanwhile."""
NONE_UNCOVERED: Mapping[int, Sequence[Break]] = MappingProxyType({})


@dataclass(frozen=True)
class Releases:
    """Over how many releases operations may be spread, and how those are taken back."""

    count: int = 1
    backwards: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Index of a removal → the statements that take it back."""
    not_null_waits: bool = True
    """Whether NOT NULL may wait for the next release. A new type after it could not follow."""


def judgments(
    migration: Migration,
    ending: Ending,
    releases: Releases,
    *,
    uncovered: Mapping[int, Sequence[Break]] = NONE_UNCOVERED,
    waiting: bool = False,
) -> Sequence[Judgment]:
    """Return the judgment of each operation, by its findings in a rehearsal.

    ``uncovered`` has what another rehearsal found that operations break, by their index.
    ``waiting`` says that what can wait until a view has ended does, for the rename's sake.
    """
    found = without_taken_names(_one_by_one(migration, ending, releases, uncovered))
    return around_views(list(found), waiting=waiting)


def _one_by_one(
    migration: Migration,
    ending: Ending,
    releases: Releases,
    uncovered: Mapping[int, Sequence[Break]],
) -> Iterator[tuple[Judgment, Collection[str]]]:
    """Yield the judgment of each operation, and the tables that it locks to change them."""
    result = ending.report.migrations[-1]
    label = f"{migration.app_label}.{migration.name}"
    assert ending.reached is not None
    known = ending.reached.known
    waiting = Waiting()
    written: set[str] = set()
    for number, (own, operation) in enumerate(own_results(migration, result.operations)):
        found = [each for each in result.findings if each.operation == operation.index]
        statements = list(statements_of(operation))
        alone = len(migration.operations) == 1
        broken = [
            each
            for each in ending.report.deploy.old_code
            if each.migration == label and (alone or _is_by(each, operation.index, statements))
        ]
        written |= written_by(operation)
        facts = replace(
            facts_of(migration, operation, ending, known),
            written=frozenset(written),
            renamed=waiting.renamed,
            moving=waiting.moving,
            renamed_indexes=renamed_indexes(result.operations[number + 1 :]),
            releases=releases.count,
            backwards=releases.backwards.get(number, ()),
        )
        broken += uncovered.get(number, ())
        judgment = _Case(
            own, statements, found, broken, facts,
            rows_alone=writes_rows_alone(operation), not_null_waits=releases.not_null_waits,
        ).judgment()  # fmt: skip
        judgment = waiting.marked(_described(judgment, operation, statements), statements)
        waiting = waiting.after(judgment, statements)
        yield judgment, locked_by(operation)
        known = known.after(statements)


def _described(
    judgment: Judgment, result: OperationResult, statements: Sequence[Statement]
) -> Judgment:
    """Return the judgment with what the order of the files depends on."""
    made, dropped = made_or_dropped(statements)
    return replace(
        judgment,
        made=made,
        dropped=dropped,
        columns_taken=columns_taken(statements),
        columns_left=columns_left(statements),
        only_adds=adds_indexes_and_constraints(judgment.operation, statements),
        rows_alone=writes_rows_alone(result),
        state_alone=not result.statements,
    )


def _is_by(broken: Break, index: int, statements: Sequence[Statement]) -> bool:
    """Return whether it is an operation that breaks running code."""
    if renames(statements) or broken.operation == index:
        return True
    drops = drops_constraint if broken.sqlstate == _NO_SUCH_CONSTRAINT else drops_table
    return broken.operation is None and any(drops(each, broken.table) for each in statements)


@dataclass(frozen=True)
class _Case:
    operation: Operation
    statements: Sequence[Statement]
    found: Sequence[Finding]
    broken: Sequence[Break]
    facts: Facts
    rows_alone: bool = field(kw_only=True)
    """Whether it writes rows, which are the same in any form, and changes no table."""
    not_null_waits: bool = field(kw_only=True)

    def judgment(self) -> Judgment:
        open_ones = [each for each in self.found if each.silenced is None]
        dangers = [each for each in open_ones if each.severity == "danger"]
        to_mend = [each for each in open_ones if each.id in MENDED]
        if to_mend:
            return self._mended(to_mend, dangers)
        if (dangers or self.broken) and {each.id for each in dangers} <= {_BREAKS}:
            said = [_words(each) for each in dangers]
            return self._broken([*map(words_of_break, self.broken[:1]), *said[:1]])
        if dangers:
            return self._refused(dangers[0].id, f"{dangers[0].message}. {_words(dangers[0])}")
        silenced = next((each for each in self.found if each.silenced is not None), None)
        if silenced is None:
            return Judgment(self.operation, "kept")
        reason = f"silenced: {silenced.silenced}"
        return Judgment(self.operation, "kept", silenced.id, reason)

    def _mended(self, to_mend: Sequence[Finding], dangers: Sequence[Finding]) -> Judgment:
        first = to_mend[0].id
        mended = [each for each in dangers if each.id in MENDED]
        new = self._rewriting()
        if isinstance(new, Rewriting):
            return Judgment(self.operation, "fixed", first, None, new, dangers=len(mended))
        if mended_alone(self.operation, dangers):
            left = f"{words_of_break(self.broken[0])}, as before" if self.broken else None
            return Judgment(self.operation, "fixed", first, left, alone=True, dangers=len(mended))
        if not dangers and type(self.operation) is RunPython:
            return Judgment(self.operation, "kept", first, _words(to_mend[0]))
        about = (mended or to_mend)[0]
        return self._refused(about.id, _with_way_out(new.reason, about, self.facts.releases))

    def _refused(self, finding: str, reason: str) -> Judgment:
        return Judgment(self.operation, "refused", finding, reason)

    def _rewriting(self) -> Rewriting | NotRewritten:
        new = rewriting_of(self.operation, self.statements, self.facts)
        if isinstance(new, Rewriting) and self._waits and self.facts.releases == 2:
            return postponed(new)
        return new

    @property
    def _waits(self) -> bool:
        """Return whether it is NOT NULL for a column that running code leaves out: it can wait."""
        not_null = any(each.sqlstate == _NO_VALUE for each in self.broken)
        return self.not_null_waits and type(self.operation) is AlterField and not_null

    @property
    def _adds_what_may_be_null(self) -> bool:
        """Return whether it adds a column that running code can leave out, and breaks it anyway.

        There is a form for two releases only where code can't delete what the column refers to.
        """
        may_be_null = type(self.operation) is AddField and self.operation.field.null
        return may_be_null and all(each.sqlstate != REFERRED_TO for each in self.broken)

    def _broken(self, said: Sequence[str]) -> Judgment:
        """Return what becomes of an operation whose only harm is to the running release."""
        words = ". ".join(said)
        if self.rows_alone:
            return Judgment(self.operation, "kept", _BREAKS, words)
        spread = (
            type(self.operation) in _SPREAD
            or (type(self.operation) is AlterField and renames(self.statements))
            or removes(self.operation, self.statements)
            or loosens(self.operation, self.statements)
            or self._waits
        )
        if not spread or self._adds_what_may_be_null:
            return self._refused(_BREAKS, words)
        if self.facts.releases == 1:
            return self._refused(_BREAKS, f"{words}{TWO_RELEASES}")
        new = self._rewriting()
        if isinstance(new, Rewriting) and (
            new.renamed or any(each.next_release for each in new.files)
        ):
            return Judgment(self.operation, "fixed", _BREAKS, None, new)
        if isinstance(new, NotRewritten):
            words = f"{words} It can't be spread over two releases: {new.reason}."
        return self._refused(_BREAKS, words)


def _words(finding: Finding) -> str:
    return " ".join(line.lstrip("# ") for line in finding.advice.splitlines())


def _with_way_out(reason: str, finding: Finding, releases: int) -> str:
    """Return why there is no recipe, and what the finding's advice says in words, if it does."""
    if not all(line.startswith("#") for line in finding.advice.splitlines()):
        return reason
    words = _words(finding).partition(" There is no code for ")[0]
    return f"{reason}. {words.partition(ASKS_FOR_TWO)[0] if releases == 2 else words}"


def words_of_break(broken: Break) -> str:
    """Return what running code can't do any more, and PostgreSQL's reason."""
    return (
        f"the running release can no longer {broken.action} {broken.model or 'by a query'}: "
        f"{broken.error}"
    )
