"""Forecasts for production."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The forecast of one duration, in milliseconds."""

    low_ms: float
    expected_ms: float
    high_ms: float


@dataclass(frozen=True)
class Estimate(Range):
    """A forecast for production: a range, how often such a range has held, and what it rests on."""

    confidence_percent: int
    """How often, in 100 cases, the real duration was inside a range made like this one; 0 if no
    such forecast has been checked."""
    basis: tuple[str, ...] = ()
    """What it rests on, in words: how far it extrapolates, from what, and what is in doubt."""
    factor: float = 1.0
    """The correction that it was multiplied by, taken from earlier forecasts on this database."""
    kind: str = ""
    """How a statement's work grows: ``index``, ``rewrite``, ``scan``, ``update``, …"""


@dataclass(frozen=True)
class MigrationEstimate(Estimate):
    """The forecast for a migration; bytes are None if they are not known."""

    wal_bytes: int | None = None
    dead_bytes: int | None = None
    """Dead rows that it leaves in tables for VACUUM to clear."""
    disk_bytes: int | None = None
    """Free disk space that it needs while it runs: new files of rewritten tables and of indexes."""


@dataclass(frozen=True)
class Production:
    """What a migration means for one table in production."""

    rows: int | None
    """None if the statistics don't say."""
    reads_blocked: Range | None
    """None if no reader has to wait."""
    writes_blocked: Range | None
    impact: tuple[str, ...] = ()
    """What users will notice, in words."""
    rows_locked: Range | None = None
    """How long rows are locked while the table is not; None if no rows are."""


@dataclass(frozen=True)
class ProductionDatabase:
    """The database whose sizes the forecasts are made for."""

    database: str
    server_version: int
    """As PostgreSQL counts: 180006."""
    collected_at: str


@dataclass(frozen=True)
class CalibrationUsed:
    """The calibration file whose constants the forecasts are made with."""

    file: str
    made_at: str
    server_version: int
    """Of the server that it was measured on, as PostgreSQL counts: 180006."""
    kinds: tuple[str, ...]
    """The kinds of work that it has constants for; the others have those of the release."""


@dataclass(frozen=True)
class Sampled:
    """How a statement's time grew between two samples of its tables."""

    exponent: float
    """Time grew with the number of rows to the power of this."""
    rows: tuple[int, int]
    durations_ms: tuple[float, float]
    """How long it took on each of them."""
