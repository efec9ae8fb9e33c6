"""What becomes of one operation, and by which rewriting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.findings.advice.sentences import SENTENCES
from django_confiture.dry_run.rewriting.files import RenamedTable, Rewriting
from django_confiture.finding_ids import SEVERITIES
from django_confiture.fix.outcomes import OperationOutcome, Outcome

_TRY_ALONE = "Put it into a migration of its own, and run it in a quiet hour."


@dataclass(frozen=True)
class Judgment:
    """What becomes of one operation."""

    operation: Operation
    outcome: Outcome
    finding: str | None = None
    """The id of the finding that it is about."""
    reason: str | None = None
    rewriting: Rewriting | None = None
    alone: bool = False
    """Whether it stays as it is, in a separate file."""
    dangers: int = 0
    """How many dangers it is rid of."""
    made: frozenset[str] = frozenset()
    """The names of the indexes and constraints that it makes, where it does no more."""
    dropped: frozenset[str] = frozenset()
    """The names of those that it drops, where it does no more."""
    columns_taken: frozenset[str] = frozenset()
    """The tables and columns that get a name: ``table`` or ``table.column``."""
    columns_left: frozenset[str] = frozenset()
    """The tables and columns that are dropped."""
    behind_view: bool = False
    """Whether it is refused for changes of the table behind the view that it would leave."""
    done_by: int | None = None
    """The index of the later operation whose files do this one's work, too."""
    only_adds: bool = False
    """Whether all that it does is to add indexes and constraints: running code needs none."""

    rows_alone: bool = False
    """Whether it writes rows, and changes no table."""
    state_alone: bool = False
    """Whether it does nothing in the database."""

    behind_new_columns: bool = False
    """Whether its files may name new columns that those of earlier operations make."""

    @property
    def waits(self) -> bool:
        """Whether a part of it waits for the next release: what comes after it can't."""
        return self.rewriting is not None and any(e.next_release for e in self.rewriting.files)

    @property
    def renamed(self) -> Sequence[RenamedTable]:
        """The tables that it renames, or columns of them, behind views."""
        return self.rewriting.renamed if self.rewriting is not None else ()

    def refused(self, harm: str) -> Judgment:
        """Return the refusal of what would be fixed; ``harm`` is a finding's id, or in words."""
        finding, reason = None, harm
        if harm in SEVERITIES:
            instead = SENTENCES.get(harm, _TRY_ALONE).replace("\n", " ")
            finding = harm
            reason = f"what it would become would still do harm: {harm}. {instead}"
        return Judgment(
            self.operation,
            "refused",
            finding,
            reason,
            rows_alone=self.rows_alone,
            state_alone=self.state_alone,
            columns_taken=self.columns_taken,
            columns_left=self.columns_left,
        )

    def of_its_own(self, finding: str) -> Judgment:
        """Return the judgment with a separate file, for harm that others of its file cause."""
        return replace(self, outcome="fixed", finding=finding, reason=None, alone=True)


def outcomes_of(
    migration: Migration, judged: Sequence[Sequence[Judgment]]
) -> Iterator[OperationOutcome]:
    """Yield what becomes of each operation of a migration, of its pieces together."""
    for index, (operation, group) in enumerate(zip(migration.operations, judged, strict=True)):
        first = next((each for each in group if each.outcome != "kept"), group[0])
        outcome: Outcome = "fixed" if len(group) > 1 else first.outcome
        described = operation.describe()
        yield OperationOutcome(index, described, first.finding, outcome, first.reason)
