"""When writing or reading rows is work that grows with the table, and not a few rows of seed."""

from __future__ import annotations

from django_confiture.dry_run.findings.subject import JudgedStatement, Subject

MANY_ROWS = 10_000
"""More rows than this in one transaction are many, whatever the table's size."""
SMALL_TABLE = 100
"""Writing all rows of a table with so few does not count as a backfill."""
MOST = 0.5
"""The part of a larger table's rows from which on writing them is a backfill of it."""
LONG_MS = 1000.0
"""An operation that takes longer than this while it holds a lock makes others wait for it."""


def is_many(subject: Subject, table: str, rows: float, changed: float) -> bool:
    """Return whether ``rows`` written, ``changed`` of them updated or deleted, are a backfill.

    Where production's sizes are known, its rows count: 833 here can be 33,000 there.
    """
    if subject.in_production(table, rows) > MANY_ROWS:
        return True
    known = subject.rows(table)
    return known is not None and known > SMALL_TABLE and changed >= MOST * known


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


def writes_many(subject: Subject, step: JudgedStatement) -> bool:
    """Return whether a statement wrote many rows, or most rows of a table."""
    return step.result.rows_written > MANY_ROWS or any(
        is_many(
            subject,
            write.relation,
            write.inserted + write.updated + write.deleted,
            write.updated + write.deleted,
        )
        for write in step.result.writes
    )


def rows_read(step: JudgedStatement) -> int:
    """Return the rows that full scans returned; where they are not known, as if there were many."""
    return sum(MANY_ROWS + 1 if rows is None else rows for rows in step.scanned.values())
