"""The log of statements: keeps each in its section, and remarks for its migration's report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from django_confiture.backfills.forecasting.outlook import BackfillOutlook
from django_confiture.dry_run.measuring.stopwatch import Stopwatch
from django_confiture.dry_run.recording.sections import Section, SectionEntry
from django_confiture.dry_run.results import Violations
from django_confiture.dry_run.sql.parsing.parser import Statement

_UNSEEN = (
    "SQL reached the server in a way that is not caught. What it did was read from the server's "
    "own locks, files and counters; its text is not known, and it took at most the time given."
)


@dataclass(frozen=True)
class StatementFailure:
    """A statement that PostgreSQL refused."""

    sql: str
    error: Exception
    violations: Violations | None = None


@dataclass
class Remarks:
    """Remarks about a migration beyond its statements."""

    failures: list[StatementFailure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    backfills: list[BackfillOutlook] = field(default_factory=list)
    """Those that it starts."""
    callbacks: int = 0
    """``on_commit`` callbacks that were not called."""
    written_elsewhere: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows that other connections of the process wrote, by alias and table."""
    commit_ms: float = 0.0
    """How long its COMMITs checked deferred constraints."""


class StatementLog:
    """Numbers the statements of a dry run and notes each in the section that it belongs to."""

    def __init__(self, clock: Stopwatch) -> None:
        self._clock = clock
        self._section = Section()
        self._remarks = Remarks()
        self._ids = count(1)
        self._transaction = 0
        self.refused: SectionEntry | None = None
        """The statement that failed last, while the server was not asked what it had read."""

    @property
    def section(self) -> Section:
        """The section that is recorded now."""
        return self._section

    @property
    def remarks(self) -> Remarks:
        """The remarks since the migration started."""
        return self._remarks

    def start_migration(self, remarks: Remarks | None = None) -> None:
        """Begin with no remarks, or go on with those of a migration that was interrupted."""
        self._remarks = remarks or Remarks()

    @contextmanager
    def inside(self, section: Section) -> Iterator[None]:
        """Record into ``section``; its time is not counted for the section around it."""
        outer, self._section = self._section, section
        started = self._clock.now()
        if section.started is None:
            section.started = started
        try:
            yield
        finally:
            elapsed = (self._clock.now() - started) * 1000
            section.duration_ms += elapsed
            outer.duration_ms -= elapsed
            self._section = outer

    def noted(self, statement: Statement) -> SectionEntry:
        """Return the entry of a statement that is about to run."""
        return self._numbered(self._section.entry_of(statement))

    def noted_unseen(self) -> SectionEntry:
        """Return an entry for what reached the server without being caught."""
        self._section.not_rehearsed.append(_UNSEEN)
        return self._numbered(self._section.unseen_entry())

    def _numbered(self, entry: SectionEntry) -> SectionEntry:
        entry.id = entry.id or next(self._ids)
        entry.runs[self._transaction] += 1
        return entry

    def end_transaction(self, checked_ms: float = 0.0) -> None:
        """Count what runs from now on for the next transaction."""
        self._remarks.commit_ms += checked_ms
        self._transaction += 1

    def note_failure(
        self, sql: str, error: Exception, violations: Violations | None = None
    ) -> None:
        """Note a statement that PostgreSQL refused."""
        self._remarks.failures.append(StatementFailure(sql, error, violations))

    def explain_failure(
        self, sql: str, error: Exception, violations: Violations | None = None
    ) -> None:
        """Add the offending rows to the error noted last, or note the error."""
        failures = self._remarks.failures
        if failures and failures[-1].error is error:
            known = failures.pop().violations
            violations = violations or known
        self.note_failure(sql, error, violations)

    def note_substituted(self, text: str) -> None:
        """Note why what runs now is rehearsed in another form."""
        self._section.substituted.append(text)

    def note_not_rehearsed(self, text: str) -> None:
        """Note why something of what runs now is not rehearsed."""
        self._section.not_rehearsed.append(text)

    def note_chance(self, statement: Statement, text: str) -> None:
        """Note why the last run of a statement may have taken other rows, ``""`` if it has not."""
        self._section.by_chance[statement.sql] = text

    def note_warning(self, text: str) -> None:
        """Note what the report should say of the migration."""
        self._remarks.warnings.append(text)

    def note_backfill(self, outlook: BackfillOutlook) -> None:
        """Note what will come of a backfill that the migration starts."""
        self._remarks.backfills.append(outlook)

    def note_written_elsewhere(self, alias: str, table: str, rows: int) -> None:
        """Count rows that another connection of this process has written."""
        self._remarks.written_elsewhere[alias, table] += rows

    def callbacks_dropped(self, count: int) -> None:
        """Count ``on_commit`` callbacks that were not called."""
        self._remarks.callbacks += count
