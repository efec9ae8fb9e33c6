"""What was known before the first migration."""

from __future__ import annotations

from dataclasses import dataclass


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
