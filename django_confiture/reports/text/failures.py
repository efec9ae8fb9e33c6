"""Why a migration would fail: the error, the rows in its way, and where it happened."""

from __future__ import annotations

from collections.abc import Iterator

from django_confiture.dry_run.results import Failure
from django_confiture.formatting import one_line
from django_confiture.reports.phrases.facts import offending_rows
from django_confiture.reports.text.markup import WORDS, Line, escape, row


def failure(error: Failure) -> Iterator[Line]:
    """Yield an error, the rows that stand in the way, and where it happened."""
    message = escape(one_line(error.message))
    yield row("[bold red]fails[/]", 8, f"with {escape(error.type)}: {message}", indent=2)
    if error.violations is not None:
        yield row("", 8, offending_rows(error.violations, WORDS), indent=2)
    if error.operation:
        yield row("", 8, f"in the operation: {escape(error.operation)}", indent=2)
    if error.statement:
        statement = one_line(error.statement)[:500]
        yield row("", 8, f"in the statement: {escape(statement)}", indent=2)
