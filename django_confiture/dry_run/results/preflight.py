"""What the dry run checks before the first migration: tables, sessions, space, locks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlannedTable:
    """A table that exists and that the plan touches."""

    relation: str
    rows: int | None
    """As of the last ANALYZE; None if there was none."""
    size_bytes: int
    """With indexes, TOAST and partitions."""
    sessions: int
    """Other sessions that hold a lock on it, or wait for one."""


@dataclass(frozen=True)
class OtherSession:
    """A session with an open transaction; its age is None if this role may not see it."""

    pid: int | None
    """None for a prepared transaction, which no longer has a process."""
    application: str
    state: str
    transaction_ms: float | None


@dataclass(frozen=True)
class DeadSpace:
    """Dead space that the plan's UPDATEs and INSERTs leave in one table until VACUUM."""

    relation: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class LockCapacity:
    """How many objects the server's lock table has room for."""

    needed: int
    """Needed by the dry run, estimated."""
    taken: int
    """Taken by others when it began."""
    capacity: int


@dataclass(frozen=True)
class Preflight:
    """What the dry run was about to touch, and who was working there."""

    tables: tuple[PlannedTable, ...]
    """The largest first."""
    not_known: tuple[str, ...]
    """Operations that may touch other tables: ``2 RunPython``, ``1 hook``."""
    sessions: int
    """Other sessions that use these tables."""
    longest: OtherSession | None
    """The session among these with the oldest transaction."""
    oldest_transaction: OtherSession | None
    """The session with the oldest transaction in the whole database."""
    hidden_sessions: int
    """Sessions of other roles whose transactions this role may not see."""
    dead_space: tuple[DeadSpace, ...]
    """What SQL in migrations and Django's own UPDATEs would leave, as the planner estimates."""
    max_dead_bytes: int | None
    locks: LockCapacity
    lock_timeout_ms: float | None
    yield_after_ms: float | None
    """None if there is no watchdog."""
