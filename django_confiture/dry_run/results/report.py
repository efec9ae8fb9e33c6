"""The report of one dry run: its database, migrations, waits, limits and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from django_confiture.dry_run.results.deploy import NOTHING_TRIED, Deploy
from django_confiture.dry_run.results.forecasts import CalibrationUsed, ProductionDatabase
from django_confiture.dry_run.results.migrations import Failure, MigrationResult, ReverseResult
from django_confiture.dry_run.results.preflight import Preflight
from django_confiture.dry_run.results.statements import Rehearsed

RunOutcome = Literal["passed", "failed", "exceeded", "yielded"]


@dataclass(frozen=True)
class Database:
    """The database on which the dry run ran."""

    alias: str
    name: str
    server_version: str
    size_bytes: int


@dataclass(frozen=True)
class CloneResult:
    """The throw-away clone that the migrations ran on."""

    name: str
    """The name of its database, which has been dropped."""
    of: str
    """The alias whose database was copied."""
    strategy: str
    """How PostgreSQL made it: ``wal_log``, ``file_copy``, or ``file_copy, clone``."""
    duration_ms: float
    """How long copying took; no one could connect to the source meanwhile."""


@dataclass(frozen=True)
class Waiter:
    """Another session that waited for a lock of the dry run."""

    pid: int
    application: str
    waited_ms: float
    relation: str | None
    """None if it waited for a row, not for a table."""
    statement_kind: str
    """The first word of its statement, such as ``UPDATE``."""


@dataclass(frozen=True)
class SequenceMove:
    """A sequence whose position changed: nextval and setval do not roll back."""

    database: str
    sequence: str
    before: int | None
    after: int | None


@dataclass(frozen=True)
class Exceeded:
    """One limit of the budget that a migration exceeds."""

    budget: Literal["fail_on", "max_blocking", "tables", "max_wal", "max_duration"]
    limit: float | str
    """Milliseconds or bytes; for ``fail_on`` the lowest severity that counts."""
    figure: float | str
    """The migration's own value; for ``fail_on`` the id of the finding."""
    basis: Literal["measured", "forecast", "policy"]
    migration: str
    operation: int | None
    """The index of the operation that contributes most."""
    relation: str | None
    message: str


@dataclass(frozen=True)
class Coverage:
    """How many operations were rehearsed as they are, in another form, or not wholly."""

    exact: int
    substituted: int
    not_rehearsed: int
    skipped_by_router: int
    """How many a database router keeps off this database: they did nothing here."""
    unseen: int = 0
    """How many of those not rehearsed ran SQL that was not caught, known by its effects alone."""


@dataclass(frozen=True)
class Report:
    """One dry run."""

    database: Database
    outcome: RunOutcome
    duration_ms: float
    migrations: tuple[MigrationResult, ...]
    receivers: tuple[MigrationResult, ...] = ()
    """What receivers of ``pre_migrate`` and ``post_migrate`` did: for each signal, one in the shape
    of a migration, named like the signal, whose operations are its receivers."""
    error: Failure | None = None
    """An error outside any migration: in a receiver of pre_migrate or post_migrate."""
    preflight: Preflight | None = None
    """None if it ended before the plan was known."""
    deploy: Deploy = NOTHING_TRIED
    """What the running code and the new code can't do on each other's schema."""
    production: ProductionDatabase | None = None
    """None if no production sizes were given."""
    calibration: CalibrationUsed | None = None
    """None if the forecasts are made with the constants of the release."""
    reverse: ReverseResult | None = None
    """What ``--reverse`` found; None if it was not given, or not reached."""
    sequences_moved: tuple[SequenceMove, ...] = ()
    dead_bytes: int = 0
    yielded_to: tuple[Waiter, ...] = ()
    exceeded: tuple[Exceeded, ...] = ()
    """The limits of the budget that are exceeded."""
    since: str | None = None
    """The revision that ``--since`` named."""
    warnings: tuple[str, ...] = ()
    rolled_back: bool = True
    """Whether nothing is left behind. False only if the clone could not be dropped."""
    mode: Literal["transaction", "clone"] = "transaction"
    clone: CloneResult | None = None

    @property
    def measured(self) -> tuple[MigrationResult, ...]:
        """The migrations in their order, with the receivers of both signals around them."""
        before = [each for each in self.receivers if each.name == "pre_migrate"]
        after = [each for each in self.receivers if each.name != "pre_migrate"]
        return (*before, *self.migrations, *after)

    @property
    def verdict(self) -> str:
        """The outcome, or ``stopped`` if something other than a migration ended it."""
        outcomes = {m.outcome for m in self.migrations if m.error is not None}
        stopped = outcomes == {"not_run"} or (
            self.error is not None and not self.error.blames_migration
        )
        return "stopped" if self.outcome == "failed" and stopped else self.outcome

    @property
    def coverage(self) -> Coverage:
        """Count the operations that ran by how they were rehearsed."""
        ran = [operation for migration in self.migrations for operation in migration.operations]
        kinds = [each.rehearsed for each in ran]
        counted = {kind: kinds.count(kind) for kind in get_args(Rehearsed)}
        return Coverage(**counted, unseen=sum(each.unseen for each in ran))
