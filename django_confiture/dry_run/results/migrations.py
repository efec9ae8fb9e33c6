"""Migrations: what each does to tables and to the schema, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from django_confiture.backfills.forecasting.outlook import BackfillOutlook
from django_confiture.dry_run.results.forecasts import MigrationEstimate, Production
from django_confiture.dry_run.results.statements import (
    HookOutcome,
    OperationResult,
    StatementResult,
)
from django_confiture.finding_ids import Severity

RECEIVERS = "receivers"
"""What stands for an app where receivers of ``pre_migrate`` and ``post_migrate`` are reported."""

MigrationOutcome = Literal["passed", "failed", "not_run"]


@dataclass(frozen=True)
class Blocked:
    """A period in which a table is blocked, in ms from the start of the migration."""

    start_ms: float
    end_ms: float
    what: Literal["reads", "writes", "rows"]
    """``reads``: reads and writes; ``writes``: only writes; ``rows``: writes to some rows."""


@dataclass(frozen=True)
class TableResult:
    """What one migration does to one table that existed before the dry run."""

    relation: str
    strongest_lock: str
    reads_blocked_ms: float
    """From the first lock that blocks reads to the end of the migration's transaction."""
    writes_blocked_ms: float
    """The same for locks that block writes, row locks excluded: see ``rows_written``."""
    blocked_by: str
    """The statement that took the first blocking lock; empty if none did."""
    rewritten: bool
    rows_scanned: int | None
    """Rows read by full scans; None if parallel workers hide them."""
    rows_written: int
    blocked: tuple[Blocked, ...] = ()
    """When, in order."""
    row_locks: tuple[Blocked, ...] = ()
    """The longest periods in which updated or deleted rows were locked while the table was not."""
    changed_in: int = 0
    """In how many transactions it updated or deleted rows."""
    waited_ms: float | None = None
    """How long the dry run waited for other sessions' locks on it, which is in no other figure;
    None where no second connection looked."""
    production: Production | None = None
    """None if no production sizes were given, or the table is not in them."""


@dataclass(frozen=True)
class Violations:
    """The rows that violate a new constraint or don't fit a new type."""

    relation: str
    constraint: str | None
    count: int | None
    """None where there was no time to count them."""
    keys: tuple[str, ...]
    """The first few primary keys if they are numbers or UUIDs, such as ``id=42``."""


@dataclass(frozen=True)
class Failure:
    """Why a migration would fail."""

    type: str
    message: str
    operation: str | None
    statement: str | None
    violations: Violations | None = None
    blames_migration: bool = True
    """False if the server, or a limit of the dry run, ended it: the migration may be fine."""


@dataclass(frozen=True)
class Finding:
    """One hazard of a migration, with what proves it and what to write instead."""

    id: str
    """Stable, since migrations silence findings by id."""
    severity: Severity
    basis: Literal["measured", "policy"]
    """Measured: the dry run saw it. Policy: it follows from the migration's code."""
    relation: str | None
    operation: int | None
    """The index of the operation; None for the migration as a whole."""
    message: str
    advice: str
    """What to write instead, as code if possible."""
    evidence: tuple[str, ...] = ()
    """The measurements, each in words."""
    silenced: str | None = None
    """The written reason why it is accepted; None if it is not silenced."""
    statements: tuple[int, ...] = ()
    """The ids of the statements that it is about; empty if it is about all of them."""
    fixable: bool = False
    """Whether ``confiture_fix`` has a recipe that rids the operation of it."""


@dataclass(frozen=True)
class SchemaChange:
    """One object that a migration adds, removes, renames or changes."""

    kind: Literal["added", "removed", "renamed", "changed"]
    object: str
    """``table``, ``column``, ``index``, ``constraint``, ``sequence``, ``view``, …"""
    relation: str | None
    """The table that it belongs to; None for a table, a view and the like."""
    name: str
    before: str | None
    """The definition in PostgreSQL's words, or the old name if it is renamed."""
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
    """None if the migration did not run to its end."""
    schema_changes: tuple[SchemaChange, ...] = ()
    warnings: tuple[str, ...] = ()
    backfills: tuple[BackfillOutlook, ...] = ()
    """What will come of those that it starts; their texts are among the warnings."""
    file: str | None = None
    """Path from the repository's root, with slashes; None if it is not in a file."""
    line: int | None = None
    """The line where its class begins."""
    rehearsed_first: bool = False
    """True if it ran only so that the migrations after ``--since`` could."""

    @property
    def label(self) -> str:
        """``app_label.name``, as Django prints a migration."""
        return f"{self.app_label}.{self.name}"

    @property
    def of_receivers(self) -> bool:
        """Whether it stands for what receivers of a signal do, and not for a migration."""
        return (self.app_label, self.name) in (
            (RECEIVERS, "pre_migrate"),
            (RECEIVERS, "post_migrate"),
        )

    @property
    def skipped_by_router(self) -> bool:
        """Whether database routers keep all its operations off this database."""
        return bool(self.operations) and all(
            each.rehearsed == "skipped_by_router" for each in self.operations
        )

    @property
    def block_grows(self) -> bool:
        """Whether it blocks writers for longer the more rows there are.

        What only read before the first such lock makes no one wait: a hook that counts rows first
        must not turn a harmless migration into one that stops writers.
        """
        if self.rows_affected > 0:
            return True
        read_before = self._rows_read_before_blocking()
        return any(
            table.rewritten
            or table.rows_scanned is None
            or table.rows_scanned > read_before[table.relation]
            for table in self.tables
        )

    def _rows_read_before_blocking(self) -> Counter[str]:
        """Count by table; statements that ran more than once may have run later, too."""
        blocks = [
            period.start_ms
            for table in self.tables
            for period in table.blocked
            if period.what != "rows"
        ]
        read: Counter[str] = Counter()
        of_operations = (each.statements for each in self.operations)
        for statement in chain(self.statements, *of_operations):
            ended_ms = statement.started_ms + statement.duration_ms
            if blocks and statement.executions == 1 and ended_ms <= min(blocks):
                for scan in statement.scans:
                    read[scan.relation] += scan.rows or 0
        return read

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
    """``same``: the schema is what it was before the plan. Rows are not compared."""
    migrations: tuple[MigrationResult, ...] = ()
    differences: tuple[SchemaChange, ...] = ()
    """From the schema before the plan to the schema after it was undone."""
    notes: tuple[str, ...] = ()
    error: Failure | None = None
    """What can't be undone, and why."""
