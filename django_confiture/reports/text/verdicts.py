"""One line for each migration: a mark, how long it stops writers as a bar, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_confiture.dry_run.results import MigrationResult
from django_confiture.formatting import count, duration
from django_confiture.reports.phrases import harm
from django_confiture.reports.phrases.verdicts import Mark, doubts, reason, routed, verdict
from django_confiture.reports.text.failures import failure
from django_confiture.reports.text.markup import WORDS, Line, cut, escape, row

MARKS: dict[Mark, str] = {
    "fails": "[bold red]FAIL [/]",
    "stopped": "[yellow]STOP [/]",
    "skipped": "[dim] --  [/]",
    "locks": "[yellow]LOCKS[/]",
    "rows": "[yellow]ROWS [/]",
    "risk": "[yellow]RISK [/]",
    "part": "[yellow]PART [/]",
    "safe": "[green] ok  [/]",
}

_BAR = 6
"""The width of the longest bar."""
_STOPPED = 7
"""The width of a duration."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LISTED = 12
"""The longest plan whose harmless migrations are listed one by one at verbosity 1."""


def label(migration: MigrationResult) -> str:
    """Return a migration's name, and its direction if it is backwards."""
    backwards = " (backwards)" if migration.direction == "backward" else ""
    return f"[bold]{escape(migration.label)}[/]{backwards}"


def lines(migrations: Sequence[MigrationResult], verbosity: int) -> Iterator[Line]:
    """Yield the verdicts, the most harmful first; a long plan's harmless ones are only counted."""
    shares = harm.shares(migrations)
    short = verbosity < 2 and len(migrations) > _LISTED
    order = harm.ranked(migrations)
    shown = [at for at in order if not short or harm.worth(migrations[at])]
    for at in shown:
        yield from _verdict(migrations[at], shares[at], verbosity)
    hidden = [migrations[at] for at in order if at not in shown]
    yield from _counted(hidden, "more migration" if shown else "migration")


def _counted(hidden: Sequence[MigrationResult], what: str) -> Iterator[Line]:
    """Yield how many are not shown one by one, apart by what came of them."""
    routed_off = [each for each in hidden if each.skipped_by_router]
    idle = sum(each.outcome == "not_run" for each in hidden)
    if calm := len(hidden) - idle - len(routed_off):
        yield _row(MARKS["safe"], "", "", f"{count(calm, what)} do no harm: -v 2")
    if routed_off:
        said = f"{count(len(routed_off), what)} not for this database: {routed(routed_off)}"
        yield _row(MARKS["skipped"], "", "", escape(said), folded=True)
    if idle:
        yield _row(MARKS["skipped"], "", "", f"{count(idle, what)} did not run: -v 2")


def _verdict(migration: MigrationResult, share: float, verbosity: int) -> Iterator[Line]:
    found = verdict(migration, WORDS)
    stop = harm.longest_stop(migration)
    stopped = "" if stop is None else duration(stop.ms)
    if migration.error is not None and verbosity < 2:
        how = "would fail" if found.mark == "fails" else "was stopped partway"
        yield _row(MARKS[found.mark], stopped, _bar(share), f"{label(migration)} {how}")
        yield from failure(migration.error)
        if said := doubts(migration, WORDS):
            yield row("[yellow]but[/]", 8, said, indent=2)
    elif verbosity < 2:
        why = reason(migration, WORDS)
        text = f"{label(migration)}{f': {why}' if why else ''}"
        yield _row(MARKS[found.mark], stopped, _bar(share), text)
    else:
        took = f"; took {duration(migration.duration_ms)}" if migration.outcome == "passed" else ""
        text = f"{label(migration)}\n{found.text}{took}"
        yield _row(MARKS[found.mark], stopped, _bar(share), text, folded=True)


def _row(mark: str, stopped: str, bar: str, text: str, *, folded: bool = False) -> Line:
    """Return one line, cut to the terminal's width; ``folded`` wraps its text instead."""
    left = f"{mark} {stopped:>{_STOPPED}} [yellow]{bar:{_BAR}}[/]"
    if not folded:
        return cut(f"{left} {text}")
    return row(left, 5 + 1 + _STOPPED + 1 + _BAR, text)


def _bar(share: float) -> str:
    """Return a bar for a share of the longest; the shortest is still visible."""
    eighths = round(share * _BAR * 8) or int(share > 0)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")
