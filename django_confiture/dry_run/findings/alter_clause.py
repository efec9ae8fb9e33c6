"""One subcommand of an ALTER TABLE, as the rules and the advice see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django_confiture.dry_run.findings.finding import measured
from django_confiture.dry_run.findings.subject import Step, Subject
from django_confiture.dry_run.results import Finding


@dataclass(frozen=True)
class Alter:
    """One subcommand on a table that existed before the dry run."""

    subject: Subject
    step: Step
    table: str
    clause: Any

    @property
    def scans(self) -> bool:
        """Say whether the statement read the whole table, and did not write it anew."""
        return self.step.scans(self.table) and not self.rewrites

    @property
    def rewrites(self) -> bool:
        """Say whether the statement wrote the table anew."""
        return self.step.rewrites(self.table)

    @property
    def builds(self) -> bool:
        """Say whether the statement built an index."""
        return bool(self.step.result.indexes_built)

    def says(self, name: str, message: str, advice: str, table: str = "") -> Finding:
        """Return a finding about the table."""
        return measured(name, self.subject, self.step, table or self.table, message, advice)
