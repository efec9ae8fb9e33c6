"""The verdict on the whole run, in one line of plain text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from django_confiture.dry_run.results import (
    MigrationResult,
    Report,
    TableResult,
    Waiter,
)
from django_confiture.formatting import count, duration, listed
from django_confiture.reports.phrases import deploy, harm
from django_confiture.reports.phrases.problems import own
from django_confiture.reports.phrases.wording import visible

_ENDED_EARLY = {
    "failed": "would fail",
    "yielded": "stopped, other sessions were waiting",
    "stopped": "stopped partway",
}

_UNDONE = {
    "same": "",
    "different": ", but undoing them leaves another schema",
    "irreversible": ", but can't be undone",
    "failed": ", but undoing them fails",
}


def headline(report: Report) -> str:
    """Return how many migrations there were, how they went, how many findings, what order."""
    found = severities(report.measured)
    findings = f"; {found}" if found else ""
    line = deploy.order(report)
    return f"{subject(report)}: {outcome(report)}{findings}{f'. {line}' if line else ''}"


def subject(report: Report) -> str:
    """Return what was rehearsed."""
    migrations = [each for each in own(report) if not each.of_receivers]
    since = f" since {visible(_short(report.since))}" if report.since else ""
    if not migrations and report.error is None:
        return f"No migration{since}" if since else "No migration is pending"
    return f"Dry run of {count(len(migrations), 'migration')}{since}"


def _short(revision: str) -> str:
    return revision[:10] if re.fullmatch("[0-9a-f]{40}", revision) else revision


def outcome(report: Report, said: Callable[[float], str] = duration) -> str:
    """Return what matters most: what fails, whom it stops, and for how long at most.

    ``said`` writes a duration.
    """
    if not report.migrations and not own(report) and report.error is None:
        return "nothing to rehearse"
    undone = _UNDONE[report.reverse.outcome] if report.reverse is not None else ""
    over = ", over the budget" if report.verdict == "exceeded" else ""
    found = "; ".join(filter(None, [_ended_early(report), _harm(own(report), said)]))
    return f"{found or 'all would apply'}{over}{undone}"


def _ended_early(report: Report) -> str:
    failing = [each for each in report.measured if each.outcome == "failed"]
    if report.verdict == "failed" and failing:
        return f"{visible(failing[0].label)} would fail"
    return _ENDED_EARLY.get(report.verdict, "")


def _harm(migrations: Sequence[MigrationResult], said: Callable[[float], str]) -> str:
    """Return how many migrations stop writers or keep rows locked, ``""`` if none does."""
    stopping = [each for each in migrations if harm.stops_writers(each)]
    if stopping:
        stops = filter(None, (harm.longest_stop(each) for each in stopping))
        longest = max(stops, key=lambda stop: stop.ms)
        where = f"{said(longest.ms)} on {visible(longest.relation)}"
        where += " in production" if longest.forecast else ""
        which = _which(stopping, migrations)
        most = "" if which == "it" else ", the longest"
        return f"{which} would stop writers{most} for {where}"
    locking = [e for e in migrations if harm.keeps_rows_locked(e) and has_warning(e)]
    return f"{_which(locking, migrations)} would keep rows locked" if locking else ""


def _which(harmful: Sequence[MigrationResult], migrations: Sequence[MigrationResult]) -> str:
    """Return how many of the migrations these are, and whether receivers are among them."""
    number = sum(not each.of_receivers for each in harmful)
    of = sum(not each.of_receivers for each in migrations)
    receivers = ["receivers of signals"] if number < len(harmful) else []
    if number == of == 1 and not receivers:
        return "it"
    return listed([*([f"{number:,} of {of:,}"] if number else []), *receivers])


def severities(migrations: Iterable[MigrationResult]) -> str:
    """Return the number of findings of each severity, ``""`` without any."""
    found = list(_severities(migrations))
    names = ("danger", "warning", "notice")
    return listed([count(found.count(name), name) for name in names if name in found])


def has_danger(migrations: Iterable[MigrationResult]) -> bool:
    """Return whether a finding that counts is a danger."""
    return "danger" in _severities(migrations)


def has_warning(migration: MigrationResult) -> bool:
    """Return whether a finding that counts is more than a notice."""
    return not {"danger", "warning"}.isdisjoint(_severities([migration]))


def _severities(migrations: Iterable[MigrationResult]) -> Iterator[str]:
    for migration in migrations:
        if not migration.rehearsed_first:
            yield from (each.severity for each in harm.counted(migration))


def waited(waiter: Waiter) -> str:
    """Return who waited for the dry run, for what, and how long."""
    who = waiter.application or "an unnamed session"
    where = f" on {waiter.relation}" if waiter.relation else ""
    return (
        f"session {waiter.pid} ({who}), whose {waiter.statement_kind or 'statement'}{where} had "
        f"waited {duration(waiter.waited_ms)}"
    )


def after_giving_way(report: Report) -> str:
    """Return what to do after the dry run gave way, ``""`` if it did not."""
    if not report.yielded_to:
        return ""
    return (
        "Others need these tables all the time, or needed them just then: run it in a quieter "
        "hour, on a clone of a database that no one uses (--clone-of ALIAS), or on a copy with "
        "production's sizes (--stats FILE)."
    )


def over_budget(report: Report) -> list[str]:
    """Return what is over the budget, all findings in one sentence."""
    failing = [each for each in report.exceeded if each.budget == "fail_on"]
    ids = listed(sorted({str(each.figure) for each in failing}))
    findings = [f"--fail-on {failing[0].limit}: {ids}"] if failing else []
    return findings + [each.message for each in report.exceeded if each.budget != "fail_on"]


def keeps_locked(table: TableResult, name: str) -> str:
    """Return what a migration writes to a table, and whether it keeps the rows locked."""
    if not table.rows_written:
        return f"keeps rows of {name} locked"
    rows = count(table.rows_written, "row")
    if table.changed_in > 1:
        return f"writes {rows} of {name} in {table.changed_in:,} transactions"
    return f"writes {rows} of {name} and keeps them locked"
