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
class Range:
    """What a forecast says of one duration, in milliseconds."""

    low_ms: float
    expected_ms: float
    high_ms: float


@dataclass(frozen=True)
class Estimate(Range):
    """A forecast for production: a range, how often such a range has held, and what it rests on."""

    confidence_percent: int
    """How often, in 100 cases, the real duration was inside a range made like this one; 0 where
    that has not been tried."""
    basis: tuple[str, ...] = ()
    """Every contribution in words: how far it extrapolates, from what, what is in doubt."""
    factor: float = 1.0
    """What it was multiplied by, as earlier forecasts on this database were off by so much."""
    kind: str = ""
    """How a statement's work grows: ``index``, ``rewrite``, ``scan``, ``update``, …"""


@dataclass(frozen=True)
class MigrationEstimate(Estimate):
    """The forecast for a migration; bytes are None where nothing tells them."""

    wal_bytes: int | None = None
    dead_bytes: int | None = None
    """Dead rows that it leaves in tables, which VACUUM has to clear."""
    disk_bytes: int | None = None
    """What it needs free while it runs: new files of rewritten tables and of indexes."""


@dataclass(frozen=True)
class Production:
    """What a migration means for one table in production."""

    rows: int | None
    """None where the statistics don't say."""
    reads_blocked: Range | None
    """None where no reader has to wait."""
    writes_blocked: Range | None
    impact: tuple[str, ...] = ()
    """What users will notice, in words."""


@dataclass(frozen=True)
class Blocked:
    """A stretch of a migration in which a table is blocked, in ms from the migration's start."""

    start_ms: float
    end_ms: float
    what: Literal["reads", "writes"]
    """``reads``: reads and writes; ``writes``: writes alone."""


@dataclass(frozen=True)
class TableLock:
    """A lock that one statement needs on a relation that existed before the dry run."""

    relation: str
    mode: str
    inherited: bool
    """True where an earlier statement of the dry run held it already, so that it was read off
    the statement; False where PostgreSQL granted it during this statement."""


@dataclass(frozen=True)
class Sampled:
    """How a statement's time grew between two samples of its tables."""

    exponent: float
    """Time grew with rows to the power of it."""
    rows: tuple[int, int]
    durations_ms: tuple[float, float]
    """What it took on each of them."""


@dataclass(frozen=True)
class Scan:
    """One relation read from end to end by a statement, or much of it through its indexes."""

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
    started_ms: float = 0.0
    """When it first ran, from the start of the migration."""
    sampled: Sampled | None = None
    """None where it was not tried on samples."""
    estimate: Estimate | None = None
    """Its duration in production; None where nothing of it was measured."""

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
    started_ms: float = 0.0
    """From the start of the migration."""
    line: int | None = None
    """Where it stands in the migration's file; the class, where it came in from elsewhere."""
    end_line: int | None = None


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
class Exceeded:
    """One limit of the budget that a migration is over."""

    budget: Literal["fail_on", "max_blocking", "tables", "max_wal", "max_duration"]
    limit: float | str
    """Milliseconds or bytes; of ``fail_on`` the least severity that counts."""
    figure: float | str
    """The same of the migration; of ``fail_on`` the id of the finding."""
    basis: Literal["measured", "forecast", "policy"]
    migration: str
    operation: int | None
    """The index of the operation that has the largest part in it."""
    relation: str | None
    message: str


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
class ProductionDatabase:
    """Whose sizes the forecasts are made for."""

    database: str
    server_version: int
    """As PostgreSQL counts: 180006."""
    collected_at: str


@dataclass(frozen=True)
class Copy:
    """The throw-away copy that the migrations ran on."""

    name: str
    """Its database, which is gone by now."""
    of: str
    """The alias whose database was copied."""
    strategy: str
    """How PostgreSQL made it: ``wal_log``, ``file_copy``, or ``file_copy, clone``."""
    duration_ms: float
    """How long that took; meanwhile nobody could connect to its source."""


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
class PlannedTable:
    """A table that exists and that the plan touches."""

    relation: str
    rows: int | None
    """As of the last ANALYZE; None where there was none."""
    size_bytes: int
    """With indexes, TOAST and partitions."""
    sessions: int
    """Other sessions that hold a lock on it, or wait for one."""


@dataclass(frozen=True)
class OtherSession:
    """A session with an open transaction; how long it is open is None where that is hidden."""

    pid: int | None
    """None for a prepared transaction, which has no process any more."""
    application: str
    state: str
    transaction_ms: float | None


@dataclass(frozen=True)
class DeadSpace:
    """What the plan's UPDATEs and INSERTs leave in one table until VACUUM."""

    relation: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class LockCapacity:
    """How many locks the server has room for, counted as objects."""

    needed: int
    """By the dry run, about."""
    taken: int
    """By others, when it began."""
    capacity: int


@dataclass(frozen=True)
class Preflight:
    """What the dry run was about to touch, and what was going on there."""

    tables: tuple[PlannedTable, ...]
    """The biggest first."""
    not_known: tuple[str, ...]
    """What may touch others: ``2 RunPython``, ``1 hook``."""
    sessions: int
    """Other sessions that are at work on these tables."""
    longest: OtherSession | None
    """The one of them whose transaction is the oldest."""
    oldest_transaction: OtherSession | None
    """The oldest one of the whole database."""
    hidden_sessions: int
    """Sessions of other roles, of which this role sees no more than that they are there."""
    dead_space: tuple[DeadSpace, ...]
    """What SQL in migrations and Django's own UPDATEs would leave, by the planner."""
    max_dead_bytes: int | None
    locks: LockCapacity
    lock_timeout_ms: float | None
    yield_after_ms: float | None
    """None where no watchdog is on."""


@dataclass(frozen=True)
class Report:
    """One dry run."""

    database: Database
    outcome: RunOutcome
    duration_ms: float
    migrations: tuple[MigrationResult, ...]
    error: Failure | None = None
    """An error outside any migration: in a receiver of pre_migrate or post_migrate."""
    preflight: Preflight | None = None
    """None where it ended before the plan was known."""
    production: ProductionDatabase | None = None
    """None where no production sizes were given."""
    reverse: ReverseResult | None = None
    """What ``--reverse`` found; None where it was not asked for, or not come to."""
    sequences_moved: tuple[SequenceMove, ...] = ()
    dead_bytes: int = 0
    yielded_to: tuple[Waiter, ...] = ()
    exceeded: tuple[Exceeded, ...] = ()
    """Which limits of the budget are exceeded; empty where there is no budget."""
    since: str | None = None
    """The revision that ``--since`` named."""
    warnings: tuple[str, ...] = ()
    rolled_back: bool = True
    """Nothing is left of it. False only where the copy could not be dropped."""
    mode: Literal["transaction", "clone"] = "transaction"
    clone: Copy | None = None

    @property
    def verdict(self) -> str:
        """The outcome, or ``stopped`` where a migration was ended by what is not its fault."""
        outcomes = {m.outcome for m in self.migrations if m.error is not None}
        return "stopped" if self.outcome == "failed" and outcomes == {"not_run"} else self.outcome

    @property
    def coverage(self) -> Coverage:
        """Count the operations that ran by how they were rehearsed."""
        kinds = [op.rehearsed for migration in self.migrations for op in migration.operations]
        return Coverage(*(kinds.count(kind) for kind in ("exact", "substituted", "not_rehearsed")))
