"""Statements in the terminal report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django_confiture.formatting import duration, one_line
from django_confiture.reports.phrases.facts import statement_facts
from django_confiture.reports.text.markup import WORDS, Line, escape, row

if TYPE_CHECKING:
    from collections.abc import Collection

    from django_confiture.dry_run.results import StatementResult


def lines(
    statement: StatementResult, tables: Collection[str], *, forecast: bool, full: bool
) -> Iterator[Line]:
    """Yield a statement in one line; ``full`` adds everything that was measured of it."""
    note = f" ({escape(statement.note)})" if statement.note else ""
    times = f" ({statement.executions:,} times)" if statement.executions > 1 else ""
    sql = escape(one_line(statement.text)[:300])
    yield row(f"[cyan]{duration(statement.duration_ms)}[/]", 8, f"{sql}{times}{note}", indent=5)
    if not full:
        return
    for fact in statement_facts(statement, tables, WORDS, forecast=forecast):
        yield row(f"[dim]{fact.label}[/]", 8, fact.text, indent=14)
    for write in statement.writes:
        counts = (
            (write.inserted, "inserted"),
            (write.updated, "updated"),
            (write.deleted, "deleted"),
        )
        done = ", ".join(f"{number:,} {what}" for number, what in counts if number)
        yield row("[dim]rows[/]", 8, f"{escape(write.relation)}: {done}", indent=14)
