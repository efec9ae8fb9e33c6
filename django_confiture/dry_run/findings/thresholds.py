"""When writing or reading rows is work that grows with the table, and not a few rows of seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from django_confiture.dry_run.findings.subject import JudgedStatement, Subject

MANY_ROWS = 10_000
"""More rows than this in one transaction are many, whatever the table's size."""
SMALL_TABLE = 100
"""Writing all rows of a table with so few does not count as a backfill."""
MOST = 0.5
"""The part of a larger table's rows from which on writing them is a backfill of it."""
SHARE = 0.1
"""The part of a table's rows from which on work while it is locked grows with the table."""
LONG_MS = 1000.0
"""An operation that takes longer than this while it holds a lock makes others wait for it."""


def is_many(subject: Subject, table: str, rows: float, changed: float) -> bool:
    """Return whether ``rows`` written, ``changed`` of them updated or deleted, are a backfill.

    Where production's sizes are known, its rows count: 833 here can be 33,000 there.
    """
    if subject.in_production(table, rows) > MANY_ROWS:
        return True
    return is_most(subject, table, changed)


def is_most(subject: Subject, table: str, rows: float) -> bool:
    """Return whether so many rows are at least half of those of a table that is not small."""
    known = subject.rows(table)
    return known is not None and known > SMALL_TABLE and rows >= MOST * known


def grows_with(subject: Subject, table: str, rows: float) -> bool:
    """Return whether so many rows, written or checked while a table is locked, are no seed."""
    if subject.in_production(table, rows) > MANY_ROWS:
        return True
    known = subject.rows(table)
    return known is not None and rows > SMALL_TABLE and rows >= SHARE * known


def most_rows(subject: Subject, step: JudgedStatement, table: str) -> bool:
    """Return whether one statement wrote so many rows of a table."""
    return any(
        is_many(
            subject,
            table,
            write.inserted + write.updated + write.deleted,
            write.updated + write.deleted,
        )
        for write in step.result.writes
        if write.relation == table
    )


def is_large(subject: Subject, table: str, rows: int | None) -> bool:
    """Return whether a scan of so many rows takes time; where they are not known, it may."""
    return rows is None or subject.in_production(table, rows) > MANY_ROWS


def reads_many(subject: Subject, step: JudgedStatement) -> bool:
    """Return whether full scans read many rows; where they are not known, they may."""
    read = [
        MANY_ROWS + 1 if rows is None else subject.in_production(table, rows)
        for table, rows in step.scanned.items()
    ]
    return sum(read) > MANY_ROWS


def writes_many(
    subject: Subject, steps: Sequence[JudgedStatement], locked: Collection[str]
) -> bool:
    """Return whether statements of one operation wrote many rows while tables were locked.

    All that one transaction wrote counts together: many rows, a share of a table's, or as many
    new ones as most of a locked table has.
    """
    transactions: dict[int, _Written] = defaultdict(_Written)
    for step in steps:
        for transaction, runs in step.runs.items():
            transactions[transaction].add(step, runs / sum(step.runs.values()))
    return any(each.is_many(subject, locked) for each in transactions.values())


@dataclass
class _Written:
    """What one transaction wrote."""

    together: float = 0
    """New tables' rows, too."""
    rows: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    changed: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, step: JudgedStatement, share: float) -> None:
        """Add a share of what a statement wrote."""
        self.together += step.result.rows_written * share
        for write in step.result.writes:
            changed = (write.updated + write.deleted) * share
            self.rows[write.relation] += write.inserted * share + changed
            self.changed[write.relation] += changed

    def is_many(self, subject: Subject, locked: Collection[str]) -> bool:
        """Return whether it is much for what waits for the locked tables."""
        return (
            self.together > MANY_ROWS
            or any(
                is_many(subject, name, rows, self.changed[name])
                or grows_with(subject, name, self.changed[name])
                for name, rows in self.rows.items()
            )
            or any(is_most(subject, name, self.together) for name in locked)
        )


def rows_read(step: JudgedStatement) -> int:
    """Return the rows that full scans returned; where they are not known, as if there were many."""
    return sum(MANY_ROWS + 1 if rows is None else rows for rows in step.scanned.values())
