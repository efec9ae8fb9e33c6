"""Statements, and the operations and hooks that sent them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from django_confiture.dry_run.results.forecasts import Estimate, Sampled

Rehearsed = Literal["exact", "substituted", "not_rehearsed"]


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

    id: int = field(default=0, kw_only=True)
    """Its number in the dry run, by its first run; findings refer to it. 0 in older reports."""
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
    started_ms: float = 0.0
    """When it began, from the migration's start."""


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
