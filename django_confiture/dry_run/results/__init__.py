"""What a dry run found, as the reports print it.

Times are milliseconds, sizes bytes, relations named with their schema only outside the search
path, lock modes as PostgreSQL spells them in ``pg_locks``. Every report is made from these alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django_confiture.dry_run.results.forecasts import (
    CalibrationUsed,
    Estimate,
    MigrationEstimate,
    Production,
    ProductionDatabase,
    Range,
    Sampled,
)
from django_confiture.dry_run.results.migrations import (
    RECEIVERS,
    Blocked,
    Failure,
    Finding,
    MigrationOutcome,
    MigrationResult,
    ReverseResult,
    SchemaChange,
    TableResult,
    Violations,
)
from django_confiture.dry_run.results.preflight import (
    DeadSpace,
    LockCapacity,
    OtherSession,
    PlannedTable,
    Preflight,
)
from django_confiture.dry_run.results.report import (
    CloneResult,
    Coverage,
    Database,
    Exceeded,
    Report,
    RunOutcome,
    SequenceMove,
    Waiter,
)
from django_confiture.dry_run.results.statements import (
    NOT_CAUGHT,
    HookOutcome,
    OperationResult,
    Rehearsed,
    Scan,
    StatementResult,
    TableLock,
    Waited,
    Write,
)
from django_confiture.finding_ids import Severity

__all__ = [
    "NOT_CAUGHT",
    "RECEIVERS",
    "Blocked",
    "CalibrationUsed",
    "CloneResult",
    "Coverage",
    "Database",
    "DeadSpace",
    "DryRunResult",
    "Estimate",
    "Exceeded",
    "Failure",
    "Finding",
    "HookOutcome",
    "LockCapacity",
    "MigrationEstimate",
    "MigrationOutcome",
    "MigrationResult",
    "OperationResult",
    "OtherSession",
    "PlannedTable",
    "Preflight",
    "Production",
    "ProductionDatabase",
    "Range",
    "Rehearsed",
    "Report",
    "ReverseResult",
    "RunOutcome",
    "Sampled",
    "Scan",
    "SchemaChange",
    "SequenceMove",
    "Severity",
    "StatementResult",
    "TableLock",
    "TableResult",
    "Violations",
    "Waited",
    "Waiter",
    "Write",
]


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
