"""Where things stand in the drawing of the locks.

Migrations stand side by side, as wide as they took long, but each wide enough to be seen. Positions
are percentages, so that the drawing fits any width without its letters being scaled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from django_confiture.dry_run.results import MigrationResult
from django_confiture.formatting import duration
from django_confiture.reports.html.text import percent

NARROW, LABELLED, TIMED = 3.5, 3.0, 9.0
"""In percent: the least width of a migration, and from which one it has a number and a time."""


@dataclass(frozen=True)
class Shape:
    """A bar or a band, and what is said of it."""

    x: str
    width: str
    kind: str
    label: str
    """One line, for those who do not see it."""
    facts: tuple[tuple[str, str], ...]
    target: str
    """The id of the migration in the page."""
    text: str = ""
    note: str = ""
    wide: bool = True
    """Whether there is room for the text on a narrow screen."""


@dataclass(frozen=True)
class Tick:
    """A line of a scale."""

    x: str
    text: str
    at_end: bool = False


@dataclass(frozen=True)
class Column:
    """Where a migration stands."""

    migration: MigrationResult
    target: str
    x: float
    width: float
    span_ms: float

    def place(self, start_ms: float, end_ms: float) -> tuple[str, str]:
        """Return where a stretch of the migration begins, and its width."""
        start = min(max(start_ms, 0.0), self.span_ms) / self.span_ms
        end = min(max(end_ms, start_ms, 0.0), self.span_ms) / self.span_ms
        return percent(self.x + start * self.width), percent((end - start) * self.width)


def columns(ran: Sequence[tuple[str, MigrationResult]]) -> list[Column]:
    """Return the columns of what ran, each with its id in the page."""
    if not ran:
        return []
    spans = [_span(migration) for _, migration in ran]
    least = min(NARROW, 60 / len(ran))
    rest = (100 - least * len(ran)) / sum(spans)
    found, x = [], 0.0
    for (target, migration), span in zip(ran, spans, strict=True):
        width = least + rest * span
        found.append(Column(migration, target, x, width, span))
        x += width
    return found


def _span(migration: MigrationResult) -> float:
    stretches = [(*table.blocked, *table.row_locks) for table in migration.tables]
    ends = [each.end_ms for each in chain.from_iterable(stretches)]
    return max(migration.duration_ms, *ends, 0.001)


def ticks(columns: Sequence[Column]) -> Iterator[Tick]:
    """Yield when migrations begin, where there is room to say it, and the end."""
    at, free = 0.0, 0.0
    for column in columns:
        if free <= column.x < 100 - TIMED:
            yield Tick(percent(column.x), duration(at) if at else "0")
            free = column.x + TIMED
        at += column.span_ms
    if columns:
        yield Tick("100%", duration(at), at_end=True)
