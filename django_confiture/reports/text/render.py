"""The terminal report: one screen at verbosity 1, all details at verbosity 2."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from django_confiture.formatting import count, duration, size
from django_confiture.reports.phrases import closing, deploy, fix_command, forecast, headline
from django_confiture.reports.phrases.problems import own
from django_confiture.reports.phrases.wording import first_line
from django_confiture.reports.text import findings, verdicts
from django_confiture.reports.text.details import details, schema_changes
from django_confiture.reports.text.failures import failure
from django_confiture.reports.text.markup import Line, cut, escape, row

if TYPE_CHECKING:
    from django_confiture.dry_run.results import Report, ReverseResult


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
        if isinstance(line, Text) and line.no_wrap:
            console.print(line, no_wrap=True, overflow="ellipsis")
        else:
            console.print(line, soft_wrap=isinstance(line, Text))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _lines(report: Report, verbosity: int) -> Iterator[Line]:
    yield from _head(report, verbosity)
    yield ""
    yield from verdicts.lines(own(report), verbosity)
    if verbosity >= 2:
        for migration in own(report):
            if migration.outcome != "not_run" or migration.error is not None:
                yield from details(migration, verbosity)
        yield from _new_code(report)
    if report.reverse is not None:
        yield from _reverse(report.reverse, verbosity)
    yield ""
    yield from _closing(report, verbosity)


def _head(report: Report, verbosity: int) -> Iterator[Line]:
    """Yield the headline, the order of the deploy, the fix, where it ran and what ended it."""
    outcome = f"[{_color(report)}]{escape(headline.outcome(report))}[/]"
    found = headline.severities(report.measured)
    findings_found = f"; {found}" if found else ""
    yield f"[bold]{escape(headline.subject(report))}: {outcome}{findings_found}[/]"
    if line := deploy.decision(report):
        yield row("[bold]Deploy[/]", 6, f"[bold]{escape(line)}.[/]")
    reasons = deploy.reasons(report)
    if reasons:
        yield row("", 6, escape(". ".join(reasons if verbosity >= 2 else reasons[:1])))
    if line := fix_command.line(report):
        yield row("[bold]Fix[/]", 6, escape(line))
    if report.error is not None:
        message = escape(first_line(report.error.message))
        how = "Failed" if report.error.blames_migration else "Stopped"
        yield f"[bold red]{how} outside the migrations[/]: {message}"
    for waiter in report.yielded_to:
        yield f"[yellow]Gave way[/] to {escape(headline.waited(waiter))}."
    if step := headline.after_giving_way(report):
        yield row("", 8, escape(step))
    over = [escape(each) for each in headline.over_budget(report)]
    if over and verbosity < 2:
        yield cut(f"[yellow]Over the budget[/]: {'; '.join(over)}")
    else:
        yield from (f"[yellow]Over the budget[/]: {each}." for each in over)


def _color(report: Report) -> str:
    if report.verdict == "failed":
        return "red"
    undone = report.reverse is None or report.reverse.outcome == "same"
    calm = report.verdict == "passed" and undone and not headline.has_danger(report.measured)
    return "green" if calm else "yellow"


def _new_code(report: Report) -> Iterator[Line]:
    """Yield what the new release can't do before the plan, and what was not tried."""
    found = list(deploy.new_code(report))
    if found:
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
    if verbosity >= 2 or reverse.error is not None:
        yield from verdicts.lines(reverse.migrations, verbosity)
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


def _closing(report: Report, verbosity: int) -> Iterator[Line]:
    yield f"{closing.coverage(report)} {escape(forecast.whose_times(report))}"
    if verbosity < 2:
        if own(report):
            yield "-v 2 shows each operation, what proves the findings, and better code."
    elif found := findings.summary(report.measured):
        yield found
    yield from _notes(report, verbosity)
    yield f"[dim]{escape(_where(report))}.[/] [bold]{closing.ending(report)}[/]"


def _notes(report: Report, verbosity: int) -> Iterator[Line]:
    """Yield what to know of the run itself.

    At verbosity 1 a run that came to its end has the first note alone, and how many follow. What
    backfills will take is told whole: nothing else in the report says it.
    """
    warnings = list(report.warnings)
    forecasts = []
    if verbosity < 2:
        for each in own(report):
            told = [backfill.text for backfill in each.backfills]
            forecasts += [_note(f"{each.label}: {text}") for text in told]
            warnings += [f"{each.label}: {text}" for text in each.warnings if text not in told]
    notes = [_note(warning) for warning in warnings]
    if report.dead_bytes:
        notes.append(f"Dead space left until VACUUM: {size(report.dead_bytes)}.")
    if report.sequences_moved:
        names = ", ".join(escape(move.sequence) for move in report.sequences_moved)
        notes.append(f"Sequences moved, which no rollback undoes: {names}.")
    if verbosity >= 2 or report.verdict not in ("passed", "exceeded"):
        yield from (*forecasts, *notes)
        return
    if untried := len(list(deploy.not_checked(report))):
        notes.append(f"{count(untried, 'part')} of the releases could not be tried: -v 2")
    yield from forecasts
    yield from (cut(note) for note in notes[:1])
    if len(notes) > 1:
        yield f"{count(len(notes) - 1, 'more note')} with -v 2."


def _note(text: str) -> str:
    return f"[yellow]![/] {escape(text)}"


def _where(report: Report) -> str:
    name = report.database.name
    if report.clone is not None:
        name = f"a clone of {name}, made in {duration(report.clone.duration_ms)}"
    size_of = size(report.database.size_bytes)
    return f"On {name}, PostgreSQL {report.database.server_version}, {size_of}"
