"""Migrations: what each does to tables and to the schema, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from django_confiture.dry_run.results.forecasts import MigrationEstimate, Production
from django_confiture.dry_run.results.statements import (
    HookOutcome,
    OperationResult,
    StatementResult,
)
from django_confiture.finding_ids import Severity

MigrationOutcome = Literal["passed", "failed", "not_run"]


@dataclass(frozen=True)
class Blocked:
    """A stretch of a migration in which a table is blocked, in ms from the migration's start."""

    start_ms: float
    end_ms: float
    what: Literal["reads", "writes", "rows"]
    """``reads``: reads and writes; ``writes``: writes alone; ``rows``: writes of some rows."""


@dataclass(frozen=True)
class TableResult:
    """What one migration does to one table that existed before the dry run."""

    relation: str
    strongest_lock: str
    reads_blocked_ms: float
    """From the first lock that blocks reads to the end of the migration's transaction."""
    writes_blocked_ms: float
    """The same for locks that block writes. Row locks are not in it: see ``rows_written``."""
    blocked_by: str
    """The statement that took the first blocking lock; empty where none did."""
    rewritten: bool
    rows_scanned: int | None
    """Rows of full scans; None where parallel workers hide them."""
    rows_written: int
    blocked: tuple[Blocked, ...] = ()
    """When, in order."""
    row_locks: tuple[Blocked, ...] = ()
    """When rows were locked that it has updated or deleted, and the table was not; the longest."""
    changed_in: int = 0
    """In how many transactions it updated or deleted rows."""
    production: Production | None = None
    """None where no production sizes were given, or they don't know the table."""


@dataclass(frozen=True)
class Violations:
    """The rows that stand in the way of a constraint or a type."""

    relation: str
    constraint: str | None
    count: int
    keys: tuple[str, ...]
    """The first few primary keys, where they are numbers or UUIDs, such as ``id=42``."""


@dataclass(frozen=True)
class Failure:
    """Why a migration would fail."""

    type: str
    message: str
    operation: str | None
    statement: str | None
    violations: Violations | None = None
    blames_migration: bool = True
    """False where the server, or a limit of the dry run, ended it: the migration may be fine."""


@dataclass(frozen=True)
class Finding:
    """One hazard of a migration, with what proves it and what to write instead."""

    id: str
    """Stable: it is what a migration silences."""
    severity: Severity
    basis: Literal["measured", "policy"]
    """Measured: the dry run saw it. Policy: it follows from what the migration says."""
    relation: str | None
    operation: int | None
    """The index of the operation; None for the migration as a whole."""
    message: str
    advice: str
    """What to write instead, as code where there is any."""
    evidence: tuple[str, ...] = ()
    """The measurements, each in words."""
    silenced: str | None = None
    """The written reason why it is accepted; None where it is not."""
    statements: tuple[int, ...] = ()
    """The ids of the statements that it is about; none where it is about all of them."""


@dataclass(frozen=True)
class SchemaChange:
    """One object that a migration adds, removes, renames or changes."""

    kind: Literal["added", "removed", "renamed", "changed"]
    object: str
    """``table``, ``column``, ``index``, ``constraint``, ``sequence``, ``view``, …"""
    relation: str | None
    """The table that it belongs to; None where it stands for itself."""
    name: str
    before: str | None
    """The definition, in PostgreSQL's words; where it is renamed, the name."""
    after: str | None


@dataclass(frozen=True)
class MigrationResult:
    """One migration of the plan."""

    app_label: str
    name: str
    version: str
    direction: Literal["forward", "backward"]
    outcome: MigrationOutcome
    duration_ms: float = 0.0
    commit_ms: float = 0.0
    """The part of it that COMMIT takes to check deferred constraints."""
    error: Failure | None = None
    operations: tuple[OperationResult, ...] = ()
    statements: tuple[StatementResult, ...] = ()
    """What ran around the operations: the phases' hooks, Django's own bookkeeping."""
    hooks: tuple[HookOutcome, ...] = ()
    tables: tuple[TableResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    estimate: MigrationEstimate | None = None
    """None where it did not come to its end."""
    schema_changes: tuple[SchemaChange, ...] = ()
    warnings: tuple[str, ...] = ()
    file: str | None = None
    """Relative to the repository, with slashes; None where it is in no file."""
    line: int | None = None
    """Where its class begins."""
    rehearsed_first: bool = False
    """True for what ``--since`` is not about: it only ran so that the others could."""

    @property
    def label(self) -> str:
        """``app_label.name``, as Django prints a migration."""
        return f"{self.app_label}.{self.name}"

    @property
    def grows(self) -> bool:
        """Say whether it did work that takes longer the more rows there are."""
        return self.rows_affected > 0 or any(
            table.rewritten or table.rows_scanned != 0 for table in self.tables
        )

    @property
    def rows_affected(self) -> int:
        """Rows that the statements wrote: by command tag, else by the server's counters."""
        return sum(
            statement.rows_written
            for operation in self.operations
            for statement in operation.statements
        )


@dataclass(frozen=True)
class ReverseResult:
    """The plan undone in the same transaction, the last migration first."""

    outcome: Literal["same", "different", "irreversible", "failed"]
    """The same: the schema is what it was before the plan. Rows are not compared."""
    migrations: tuple[MigrationResult, ...] = ()
    differences: tuple[SchemaChange, ...] = ()
    """From the schema before the plan to the one after its undoing."""
    notes: tuple[str, ...] = ()
    error: Failure | None = None
    """What can't be undone, and why."""
