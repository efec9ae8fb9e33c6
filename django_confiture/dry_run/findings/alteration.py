"""One subcommand of an ALTER TABLE, with what was measured of its statement."""

from __future__ import annotations

from dataclasses import dataclass

from django_confiture.dry_run.findings.subject import JudgedStatement, Subject
from django_confiture.dry_run.sql.parsing.nodes import Node


@dataclass(frozen=True)
class Alteration:
    """One subcommand on a table that existed before the dry run."""

    subject: Subject
    step: JudgedStatement
    table: str
    subcommand: Node

    @property
    def scans(self) -> bool:
        """Whether the statement read the whole table, and did not rewrite it."""
        return self.step.scans(self.table) and not self.rewrites

    @property
    def rewrites(self) -> bool:
        """Whether the statement rewrote the table."""
        return self.step.rewrites(self.table)

    @property
    def builds(self) -> bool:
        """Whether the statement built an index."""
        return bool(self.step.result.indexes_built)
