"""How much a migration harms others: what it stops, for how long, and who comes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from django_confiture.dry_run.results import Finding, MigrationResult
from django_confiture.dry_run.results.blocking import blocking_of

LONG_MS = 1000.0
"""A table that is blocked this long deserves a look, whatever its size."""


@dataclass(frozen=True)
class Stop:
    """Writers of one table have to wait."""

    relation: str
    ms: float
    forecast: bool
    """Whether ``ms`` is the expected duration in production, not the one measured here."""


def longest_stop(migration: MigrationResult) -> Stop | None:
    """Return the table whose writers a migration stops longest; None if it stops none."""
    stops = list(_stops(migration))
    return max(stops, key=lambda stop: (stop.ms, stop.relation)) if stops else None


def _stops(migration: MigrationResult) -> Iterator[Stop]:
    for table in migration.tables:
        blocking = blocking_of(table)
        if table.writes_blocked_ms:
            yield Stop(table.relation, blocking.writes_ms, blocking.forecast)


def stops_writers(migration: MigrationResult) -> bool:
    """Return whether it stops writers for long, or longer the more rows there are."""
    if not any(table.writes_blocked_ms for table in migration.tables):
        return False
    return migration.block_grows or any(
        each.writes_blocked_ms >= LONG_MS for each in migration.tables
    )


def keeps_rows_locked(migration: MigrationResult) -> bool:
    """Return whether others have to wait for rows that it writes or locks."""
    return any(
        (table.rows_written or table.row_locks) and not table.reads_blocked_ms
        for table in migration.tables
    )


def counted(migration: MigrationResult) -> tuple[Finding, ...]:
    """Return the findings that are not silenced."""
    return tuple(each for each in migration.findings if each.silenced is None)


Worth = Literal[0, 1, 2, 3]


def worth(migration: MigrationResult) -> Worth:
    """Return how much a migration deserves a look: 3 if it fails, 0 if nothing is wrong."""
    if migration.error is not None:
        return 3
    severities = {each.severity for each in counted(migration)}
    if "danger" in severities or stops_writers(migration):
        return 2
    return 1 if severities or keeps_rows_locked(migration) or unmeasured(migration) else 0


def unmeasured(migration: MigrationResult) -> tuple[str, ...]:
    """Return why operations are not known whole, each reason once."""
    if migration.outcome == "not_run":
        return ()
    found = (each.reason for each in migration.operations if each.rehearsed == "not_rehearsed")
    return tuple(dict.fromkeys(found))


def ranked(migrations: Sequence[MigrationResult]) -> list[int]:
    """Return the positions of the migrations, the most harmful first."""

    def harm(position: int) -> tuple[float, ...]:
        migration = migrations[position]
        stop = longest_stop(migration) if stops_writers(migration) else None
        idle = migration.outcome == "not_run" or migration.skipped_by_router
        return (
            -worth(migration),
            -(stop.ms if stop else 0.0),
            _rows_kept_locked(migration),
            idle,
            position,
        )

    return sorted(range(len(migrations)), key=harm)


def _rows_kept_locked(migration: MigrationResult) -> float:
    """Return how many rows are kept locked, below zero."""
    locked = keeps_rows_locked(migration)
    return -float(migration.rows_affected) if locked else 0.0


def shares(migrations: Sequence[MigrationResult]) -> list[float]:
    """Return for each migration how long it stops writers, the longest being 1."""
    stops = [longest_stop(each) if stops_writers(each) else None for each in migrations]
    longest = max((stop.ms for stop in stops if stop), default=0.0)
    return [stop.ms / longest if stop and longest else 0.0 for stop in stops]
