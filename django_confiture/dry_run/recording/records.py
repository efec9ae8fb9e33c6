"""The record of one migration after it has run: its sections and statements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation

from django_confiture.backfills.forecasting.outlook import BackfillOutlook
from django_confiture.dry_run.measuring.effects import Effects
from django_confiture.dry_run.measuring.lock_timeline import TableTime
from django_confiture.dry_run.recording.statement_log import StatementFailure
from django_confiture.dry_run.results import HookOutcome, StatementResult
from django_confiture.dry_run.sql.parsing.parser import Statement
from django_confiture.dry_run.sql.texts.redaction import Origin
from django_confiture.dry_run.sql.transactions.timeouts import is_session_timeout
from django_confiture.hooks.base import Direction
from django_confiture.hooks.context import migration_version

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Catalog
    from django_confiture.dry_run.recording.sections import SectionEntry


@dataclass(frozen=True)
class RecordedStatement:
    """One statement, or all runs of one DML text in an operation."""

    result: StatementResult
    statement: Statement
    runs: Mapping[int, int]
    """Number of the transaction → how often it ran in it."""
    effects: tuple[Effects, ...]
    row_locks: frozenset[str]
    """The tables whose rows it has locked without writing them."""
    truncated: frozenset[str]
    """The tables that it emptied by giving them a new file."""
    columns_gone: tuple[tuple[str, str], ...]
    """(table, name) of each column that it has dropped without naming it."""

    @classmethod
    def of(cls, entry: SectionEntry, catalog: Catalog, began: float) -> RecordedStatement:
        """Return what an entry has recorded, with names; ``began`` is when its migration did."""
        known = catalog.relations
        return cls(
            entry.result(catalog, began),
            entry.statement,
            dict(entry.runs),
            tuple(entry.effects),
            frozenset(known[oid].shown for oid in entry.row_locks),
            frozenset(known[oid].shown for each in entry.effects for oid in each.truncated),
            tuple((known[oid].shown, name) for oid, name in entry.columns_gone if oid in known),
        )


@dataclass(frozen=True)
class RecordedSection:
    """What was recorded together: an operation, or what ran around them."""

    origin: Origin
    started_ms: float
    """From the start of the migration."""
    duration_ms: float
    statements: tuple[RecordedStatement, ...]
    substituted: tuple[str, ...]
    """Why something was rehearsed in another form."""
    not_rehearsed: tuple[str, ...]
    skipped_by_router: tuple[str, ...]
    """Why nothing ran on this database; empty where something did."""
    hooks: tuple[HookOutcome, ...]

    @property
    def matters(self) -> bool:
        """Whether anything was sent, or was not rehearsed."""
        return bool(self.statements or self.hooks or self.not_rehearsed)

    @property
    def results(self) -> tuple[StatementResult, ...]:
        """What the report says of its statements, savepoints left out."""
        return tuple(each.result for each in self.statements)


@dataclass(frozen=True)
class RecordedOperation:
    """One operation of a migration."""

    index: int
    operation: Operation
    section: RecordedSection


@dataclass(frozen=True)
class RecordedMigration:
    """One migration, and all that the server said of it."""

    migration: Migration
    direction: Direction
    duration_ms: float
    commit_ms: float
    """The part of it that COMMIT takes to check deferred constraints."""
    around: RecordedSection
    """What ran around the operations: the phases' hooks, Django's own bookkeeping."""
    operations: tuple[RecordedOperation, ...]
    failed_in: RecordedOperation | None
    failures: tuple[StatementFailure, ...]
    statements_limited: bool
    """Whether the dry run had a ``statement_timeout`` of its own."""
    warnings: tuple[str, ...]
    backfills: tuple[BackfillOutlook, ...]
    """What will come of those that it starts."""
    callbacks: int
    """``on_commit`` callbacks that were not called."""
    written_elsewhere: Mapping[tuple[str, str], int]
    """Alias and table → rows that other connections of the process wrote."""
    tables: Mapping[int, TableTime]
    """OID → when the table was locked."""

    @property
    def sections(self) -> Iterator[tuple[RecordedOperation | None, RecordedSection]]:
        """What ran around the operations, then each of them."""
        yield None, self.around
        for each in self.operations:
            yield each, each.section

    @property
    def recorded_statements(self) -> Iterator[RecordedStatement]:
        """All statements, in the operations and around them."""
        for _operation, section in self.sections:
            yield from section.statements

    @property
    def statements(self) -> list[Statement]:
        """The same, as they were parsed."""
        return [each.statement for each in self.recorded_statements]

    @property
    def effects(self) -> list[Effects]:
        """Everything that they did."""
        return [effect for each in self.recorded_statements for effect in each.effects]

    def exceeded_our_timeout(self, error: BaseException) -> bool:
        """Return whether the dry run's own ``STATEMENT_TIMEOUT`` has canceled a statement."""
        return self.statements_limited and is_session_timeout(error, self.statements)

    @property
    def reasons_at_failure(self) -> tuple[str, ...]:
        """Why the operation that failed, or what ran around them, is not rehearsed wholly."""
        section = self.failed_in.section if self.failed_in is not None else self.around
        return section.not_rehearsed

    @property
    def last_transaction(self) -> list[Statement]:
        """The statements that the real run would have had in its last transaction."""
        everything = list(self.recorded_statements)
        last = max((run for each in everything for run in each.runs), default=None)
        return [each.statement for each in everything if last in each.runs]


def migration_log_fields(migration: Migration) -> dict[str, object]:
    """Return the ``extra`` fields of a log event about a migration."""
    return {
        "migration": migration.name,
        "app_label": migration.app_label,
        "version": migration_version(migration.name),
    }
