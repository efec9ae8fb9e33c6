"""Positions in the drawing of the locks.

Migrations stand side by side. Their width is their duration, but each is wide enough to be seen.
Positions are percentages, so that the drawing fits any width without scaling its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from django_confiture.dry_run.results import MigrationResult
from django_confiture.formatting import duration
from django_confiture.reports.html.text import percent

NARROW, LABELED, TIMED = 3.5, 3.0, 9.0
"""Percentages: the least width of a migration, and the widths that fit its number and its time."""


@dataclass(frozen=True)
class Shape:
    """A bar or a band with its text."""

    x: str
    width: str
    kind: str
    label: str
    """One line for screen readers."""
    facts: tuple[tuple[str, str], ...]
    target: str
    """The id of the migration in the page."""
    text: str = ""
    note: str = ""
    wide: bool = True
    """Whether the text fits on a narrow screen."""


@dataclass(frozen=True)
class Tick:
    """A tick of the scale."""

    x: str
    text: str
    at_end: bool = False


@dataclass(frozen=True)
class MigrationColumn:
    """The column of a migration."""

    migration: MigrationResult
    target: str
    x: float
    width: float
    span_ms: float

    def place(self, start_ms: float, end_ms: float) -> tuple[str, str]:
        """Return the position and the width of a period of the migration."""
        start = min(max(start_ms, 0.0), self.span_ms) / self.span_ms
        end = min(max(end_ms, start_ms, 0.0), self.span_ms) / self.span_ms
        return percent(self.x + start * self.width), percent((end - start) * self.width)


def columns(ran: Sequence[tuple[str, MigrationResult]]) -> list[MigrationColumn]:
    """Return the columns of the migrations that ran, each with its id in the page."""
    if not ran:
        return []
    spans = [_span(migration) for _, migration in ran]
    least = min(NARROW, 60 / len(ran))
    rest = (100 - least * len(ran)) / sum(spans)
    found, x = [], 0.0
    for (target, migration), span in zip(ran, spans, strict=True):
        width = least + rest * span
        found.append(MigrationColumn(migration, target, x, width, span))
        x += width
    return found


def _span(migration: MigrationResult) -> float:
    periods = [(*table.blocked, *table.row_locks) for table in migration.tables]
    ends = [each.end_ms for each in chain.from_iterable(periods)]
    return max(migration.duration_ms, *ends, 0.001)


def ticks(columns: Sequence[MigrationColumn]) -> Iterator[Tick]:
    """Yield a tick at the start of each migration that has room for one, and at the end."""
    at, free = 0.0, 0.0
    for column in columns:
        if free <= column.x < 100 - TIMED:
            yield Tick(percent(column.x), duration(at) if at else "0")
            free = column.x + TIMED
        at += column.span_ms
    if columns:
        yield Tick("100%", duration(at), at_end=True)
