"""Statements in the terminal report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django_confiture.formatting import size
from django_confiture.reports.text.markup import escape

if TYPE_CHECKING:
    from django_confiture.dry_run.results import Scan, StatementResult


def sql(statement: StatementResult) -> str:
    """Return its text in one line, with how often it ran, and why not as written."""
    times = f" ({statement.executions:,} times)" if statement.executions > 1 else ""
    note = f" ({statement.note})" if statement.note else ""
    return escape(" ".join(statement.sql.split())[:300]) + times + note


def scanned(scan: Scan) -> str:
    """Return what was read from end to end."""
    rows = f"{scan.rows:,} rows" if scan.rows is not None else "every row"
    passes = f" in {scan.passes} passes" if scan.passes > 1 else ""
    return f"{escape(scan.relation)}: {rows}{passes}"


def facts(statement: StatementResult) -> Iterator[tuple[str, str]]:
    """Yield everything that was measured of it, label and text."""
    for lock in statement.locks:
        held = ", held already" if lock.inherited else ""
        yield "locks", f"{escape(lock.relation)}: {lock.mode}{held}"
    for scan in statement.scans:
        yield "reads", scanned(scan)
    for write in statement.writes:
        counts = (
            (write.inserted, "inserted"),
            (write.updated, "updated"),
            (write.deleted, "deleted"),
        )
        done = ", ".join(f"{number:,} {what}" for number, what in counts if number)
        yield "writes", f"{escape(write.relation)}: {done}"
    for label, names in (
        ("rewrites", statement.rewrites),
        ("builds", statement.indexes_built),
        ("checks", statement.constraints),
    ):
        if names:
            yield label, escape(", ".join(names))
    if statement.rows_affected is not None:
        yield "rows", f"{statement.rows_affected:,}"
    if statement.wal_bytes:
        yield "WAL", size(statement.wal_bytes)
