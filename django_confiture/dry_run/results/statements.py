"""Statements, and the operations and hooks that sent them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from django_confiture.dry_run.results.forecasts import Estimate, Sampled

Rehearsed = Literal["exact", "substituted", "not_rehearsed", "skipped_by_router"]


NOT_CAUGHT = "(SQL that was not caught)"
"""How reports print a statement of which only the effects are known."""


@dataclass(frozen=True)
class TableLock:
    """A lock that a statement needs on a relation that existed before the dry run."""

    relation: str
    mode: str
    inherited: bool
    """True if an earlier statement of the dry run held it already, so that we derived it from the
    statement; False if PostgreSQL granted it during this statement."""


@dataclass(frozen=True)
class Scan:
    """One relation read from end to end by a statement, or much of it through its indexes."""

    relation: str
    rows: int | None
    """Rows that the scans returned; None if parallel workers hide them."""
    passes: int = 1
    """How often the statement read it: a rewrite reads it again for each index."""


@dataclass(frozen=True)
class Write:
    """Rows of one relation that a statement wrote, cascades and triggers included."""

    relation: str
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True)
class Waited:
    """A wait of the dry run for a lock that others held."""

    relation: str | None
    """None where it waited for another transaction to end."""
    mode: str
    ms: float
    blocked_by: tuple[str, ...] = ()
    """The sessions that held it, by name: ``autovacuum``, ``prepared transaction x``."""


@dataclass(frozen=True)
class StatementResult:
    """One SQL statement as written, with placeholders for parameters.

    One without SQL stands for what reached the server without being caught: the server's own
    account of it, whose duration is at most the time from one reading to the next.
    """

    id: int = field(default=0, kw_only=True)
    """Its number in the dry run, by its first run; findings refer to it. 0 in older reports."""
    sql: str | None
    executions: int
    """How often this text ran in the operation, with any parameters."""
    duration_ms: float
    rows_affected: int | None
    """Rows by the server's command tag; None if the statement writes none, or the tag is hidden."""
    wal_bytes: int | None
    locks: tuple[TableLock, ...] = ()
    rewrites: tuple[str, ...] = ()
    scans: tuple[Scan, ...] = ()
    writes: tuple[Write, ...] = ()
    indexes_built: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    rows_locked: int | None = None
    """Rows that SELECT … FOR UPDATE or its like has returned; None for other statements, and where
    a cursor of the server fetches them or a function locks them."""
    note: str = ""
    """Why it was not run as written; empty if it was."""
    started_ms: float = 0.0
    """When it first ran, in ms from the start of the migration."""
    waited_ms: float | None = None
    """How long it waited for other sessions' locks, which is in no other figure; None where no
    second connection looked."""
    waits: tuple[Waited, ...] = ()
    sampled: Sampled | None = None
    """None if it was not tried on samples."""
    estimate: Estimate | None = None
    """The forecast of its duration in production; None if nothing was measured."""

    @property
    def text(self) -> str:
        """Its SQL as reports print it."""
        return NOT_CAUGHT if self.sql is None else self.sql

    @property
    def rows_written(self) -> int:
        """Rows by command tag, which also counts new tables; else by the server's counters."""
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
    """When it began, in ms from the start of the migration."""


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
    """Its line in the migration's file, or that of the class if it is not written there."""
    end_line: int | None = None
    file: str | None = None
    """Where a receiver is written; None for the migration's own file."""

    @property
    def unseen(self) -> bool:
        """Whether something of it reached the server without being caught."""
        return any(statement.sql is None for statement in self.statements)
