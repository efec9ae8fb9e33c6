"""What a dry run found, as the reports print it.

Times are milliseconds, sizes bytes, relations named with their schema only outside the search
path, lock modes as PostgreSQL spells them in ``pg_locks``. Every report is made from these alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Rehearsed = Literal["exact", "substituted", "not_rehearsed"]
Severity = Literal["danger", "warning", "notice"]
MigrationOutcome = Literal["passed", "failed", "not_run"]
RunOutcome = Literal["passed", "failed", "exceeded", "yielded"]


@dataclass
class DryRunResult:
    """What :meth:`DryRunExecutor.run` returns for one migration."""

    migration_name: str
    migration_version: str
    success: bool
    execution_time_ms: int
    rows_affected: int = 0
    locked_tables: list[str] = field(default_factory=list)
    estimated_production_time_ms: int = 0
    confidence_percent: int = 0
    warnings: list[str] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TableLock:
    """A lock that one statement needs on a relation that existed before the dry run."""

    relation: str
    mode: str
    inherited: bool
    """True where an earlier statement of the dry run held it already, so that it was read off
    the statement; False where PostgreSQL granted it during this statement."""


@dataclass(frozen=True)
class Scan:
    """One relation read from end to end by a statement."""

    relation: str
    rows: int | None
    """Rows that the scans returned; None where parallel workers hide them."""
    passes: int = 1
    """How often the statement read it: a rewrite reads it once more for each index."""


@dataclass(frozen=True)
class Write:
    """Rows of one relation that a statement wrote, cascades and triggers included."""

    relation: str
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True)
class StatementResult:
    """One SQL statement as it was written; parameters stay placeholders."""

    sql: str
    executions: int
    """How often this very text ran in the operation, with whatever parameters."""
    duration_ms: float
    rows_affected: int | None
    """Rows by the server's command tag; None for what writes none, or hides it."""
    wal_bytes: int | None
    locks: tuple[TableLock, ...] = ()
    rewrites: tuple[str, ...] = ()
    scans: tuple[Scan, ...] = ()
    writes: tuple[Write, ...] = ()
    indexes_built: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    note: str = ""
    """Why it was not run as written; empty where it was."""

    @property
    def rows_written(self) -> int:
        """Rows by command tag, which counts new tables too; else by the server's counters."""
        if self.rows_affected is not None:
            return self.rows_affected
        return sum(write.inserted + write.updated + write.deleted for write in self.writes)


@dataclass(frozen=True)
class HookOutcome:
    """One hook that ran or was skipped."""

    hook: str
    phase: str
    duration_ms: float
    rows_affected: int
    outcome: str
    reason: str = ""


@dataclass(frozen=True)
class OperationResult:
    """One operation of a migration."""

    index: int
    name: str
    description: str
    rehearsed: Rehearsed
    reason: str
    duration_ms: float
    statements: tuple[StatementResult, ...] = ()
    hooks: tuple[HookOutcome, ...] = ()


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
    production: None = None


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
    hooks: tuple[HookOutcome, ...] = ()
    tables: tuple[TableResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    estimate: None = None
    schema_changes: tuple[SchemaChange, ...] = ()
    warnings: tuple[str, ...] = ()

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
class Waiter:
    """Another session that waited for a lock of the dry run."""

    pid: int
    application: str
    waited_ms: float
    relation: str | None
    """None where it waited for a row, not for a table."""
    statement_kind: str
    """The first word of its statement, such as ``UPDATE``."""


@dataclass(frozen=True)
class Blocker:
    """Another session that held a lock which the dry run waited for."""

    pid: int
    application: str
    state: str
    transaction_ms: float | None


@dataclass(frozen=True)
class SequenceMove:
    """A sequence whose position changed: neither nextval nor setval roll back."""

    database: str
    sequence: str
    before: int | None
    after: int | None


@dataclass(frozen=True)
class Coverage:
    """How many operations were rehearsed as they are, in another form, or not at all."""

    exact: int
    substituted: int
    not_rehearsed: int


@dataclass(frozen=True)
class Database:
    """Where the dry run ran."""

    alias: str
    name: str
    server_version: str
    size_bytes: int


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


@dataclass(frozen=True)
class Report:
    """One dry run."""

    database: Database
    outcome: RunOutcome
    duration_ms: float
    migrations: tuple[MigrationResult, ...]
    error: Failure | None = None
    """An error outside any migration: in a receiver of pre_migrate or post_migrate."""
    reverse: ReverseResult | None = None
    """What ``--reverse`` found; None where it was not asked for, or not come to."""
    sequences_moved: tuple[SequenceMove, ...] = ()
    dead_bytes: int = 0
    yielded_to: tuple[Waiter, ...] = ()
    warnings: tuple[str, ...] = ()
    rolled_back: bool = True
    mode: Literal["transaction", "clone"] = "transaction"

    @property
    def coverage(self) -> Coverage:
        """Count the operations that ran by how they were rehearsed."""
        kinds = [op.rehearsed for migration in self.migrations for op in migration.operations]
        return Coverage(*(kinds.count(kind) for kind in ("exact", "substituted", "not_rehearsed")))
