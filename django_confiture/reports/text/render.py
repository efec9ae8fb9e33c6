"""The terminal report: first the verdict on each migration, then its details."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from django_confiture.formatting import duration, size
from django_confiture.reports.phrases import closing, deploy, forecast, headline
from django_confiture.reports.phrases.problems import own
from django_confiture.reports.phrases.verdicts import Mark, verdict
from django_confiture.reports.phrases.wording import first_line
from django_confiture.reports.text import findings
from django_confiture.reports.text.details import details, failure, label, schema_changes
from django_confiture.reports.text.markup import WORDS, Line, escape, row

if TYPE_CHECKING:
    from django_confiture.dry_run.results import MigrationResult, Report, ReverseResult

_MARKS: dict[Mark, str] = {
    "fails": "[bold red]FAIL [/]",
    "stopped": "[yellow]STOP [/]",
    "skipped": "[dim] --  [/]",
    "locks": "[yellow]LOCKS[/]",
    "rows": "[yellow]ROWS [/]",
    "risk": "[yellow]RISK [/]",
    "safe": "[green] ok  [/]",
}


def render(
    report: Report, *, color: bool = False, width: int = 80, verbosity: int = 1, **_options: object
) -> str:
    """Return the report as text of at most ``width`` columns; code keeps its own lines."""
    out = StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        no_color=not color,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    for line in _lines(report, verbosity):
        console.print(line, soft_wrap=isinstance(line, Text))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _lines(report: Report, verbosity: int) -> Iterator[Line]:
    yield from _head(report)
    yield ""
    for migration in own(report):
        yield _verdict(migration)
    for migration in own(report):
        if migration.outcome != "not_run" or migration.error is not None:
            yield from details(migration, verbosity)
    yield from _new_code(report, verbosity)
    if report.reverse is not None:
        yield from _reverse(report.reverse, verbosity)
    yield ""
    yield from _closing(report, verbosity)


def _head(report: Report) -> Iterator[Line]:
    """Yield the headline, where it ran, and what is wrong with the run as a whole."""
    outcome = f"[{_color(report)}]{escape(headline.outcome(report))}[/]"
    found = headline.severities(report.measured)
    findings_found = f"; {found}" if found else ""
    yield f"[bold]{escape(headline.subject(report))}: {outcome}{findings_found}[/]"
    if line := deploy.order(report):
        yield f"[bold]{escape(line)}.[/]"
    name = escape(report.database.name)
    if report.clone is not None:
        name = f"a clone of {name}, made in {duration(report.clone.duration_ms)}"
    version = escape(report.database.server_version)
    yield f"[dim]on {name}, PostgreSQL {version}, {size(report.database.size_bytes)}[/]"
    if report.error is not None:
        message = escape(first_line(report.error.message))
        yield f"[bold red]Failed outside the migrations[/]: {message}"
    for waiter in report.yielded_to:
        yield f"[yellow]Gave way[/] to {escape(headline.waited(waiter))}."
    for sentence in headline.over_budget(report):
        yield f"[yellow]Over the budget[/]: {escape(sentence)}."


def _color(report: Report) -> str:
    if report.verdict == "failed":
        return "red"
    undone = report.reverse is None or report.reverse.outcome == "same"
    calm = report.verdict == "passed" and undone and not headline.has_danger(report.measured)
    return "green" if calm else "yellow"


def _verdict(migration: MigrationResult) -> Line:
    found = verdict(migration, WORDS)
    took = f"; took {duration(migration.duration_ms)}" if migration.outcome == "passed" else ""
    return row(_MARKS[found.mark], 5, f"{label(migration)}\n{found.text}{took}")


def _new_code(report: Report, verbosity: int) -> Iterator[Line]:
    """Yield what the new release can't do before the plan, and what was not tried."""
    found = list(deploy.new_code(report))
    if found and verbosity >= 2:
        yield ""
        yield "[bold]New code, before the plan is applied, can't:[/]"
        for each in found:
            yield row("", 8, escape(each), indent=2)
    for each in deploy.not_checked(report):
        yield row("[yellow]not tried[/]", 9, escape(each), indent=2)


def _reverse(reverse: ReverseResult, verbosity: int) -> Iterator[Line]:
    color = "green" if reverse.outcome == "same" else "red"
    yield ""
    yield f"[bold]Reverse: [{color}]{closing.undone(reverse)}[/][/]"
    for migration in reverse.migrations:
        yield _verdict(migration)
    if verbosity >= 2:
        for migration in reverse.migrations:
            if migration.outcome != "not_run":
                yield from details(migration, verbosity)
    yield from schema_changes(reverse.differences)
    if reverse.error is not None:
        yield from failure(reverse.error)
    for note in reverse.notes:
        yield row("[yellow]note[/]", 8, escape(note), indent=2)
    if reverse.outcome == "same":
        yield "[dim]Rows were not compared: a reverse doesn't bring back what was deleted.[/]"


def _closing(report: Report, verbosity: int) -> Iterator[str]:
    yield f"{closing.coverage(report)} {escape(forecast.whose_times(report))}"
    if found := findings.summary(report.measured):
        more = "" if verbosity >= 2 else " -v 2 shows what proves them, and better code."
        yield f"{found}{more}"
    for warning in report.warnings:
        yield f"[yellow]![/] {escape(warning)}"
    if report.sequences_moved:
        names = ", ".join(escape(move.sequence) for move in report.sequences_moved)
        yield f"Sequences moved, which no rollback undoes: {names}."
    if report.dead_bytes:
        yield f"Dead space left until VACUUM: {size(report.dead_bytes)}."
    yield f"[bold]{closing.ending(report)}[/]"
