"""The report as a comment on a pull request: the verdict first, the details folded.

Two runs with the same facts give the same comment: figures that vary are rounded to 1, 2 or 5 of a
unit, and there are no times of day or process ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from django_confiture.dry_run.results import MigrationResult, Report
from django_confiture.formatting import count, listed
from django_confiture.reports.markdown.details import details
from django_confiture.reports.markdown.escaping import WORDS, code, text
from django_confiture.reports.phrases import closing, deploy, fix_command, headline
from django_confiture.reports.phrases.harm import ranked, worth
from django_confiture.reports.phrases.problems import own
from django_confiture.reports.phrases.verdicts import Mark, verdict
from django_confiture.reports.phrases.wording import about, about_size, first_line, steady

MARKER = "<!-- django-confiture migrate_dryrun -->"
"""The first line, by which a CI job finds its earlier comment."""

LIMIT = 65_536
"""The most characters in a GitHub comment; we count bytes, which are never fewer."""

_EXCEEDED = 20
_MARKS: dict[Mark, str] = {
    "fails": "❌",
    "stopped": "⏹️",
    "skipped": "⏭️",
    "locks": "⚠️",
    "rows": "⚠️",
    "risk": "⚠️",
    "part": "❔",
    "safe": "✅",
}


def render(report: Report, **_options: object) -> str:
    """Return the report; it says which details it leaves out because they don't fit."""
    outcome = headline.outcome(report, about)
    head = [MARKER, f"## {text(headline.subject(report))}: {text(outcome)}", ""]
    head += _next_steps(report)
    head += _summary(report)
    tail = ["", *_closing(report)]
    room = LIMIT - _size([*head, *tail]) - 300
    verdicts = _verdicts(own(report), room)
    room -= _size(verdicts)
    return "\n".join([*head, *verdicts, *_details(report, room), *tail]) + "\n"


def _next_steps(report: Report) -> Iterator[str]:
    """Yield in which order to deploy, and the command that fixes the worst migration."""
    if line := deploy.decision(report):
        why = deploy.why_this_order(report)
        yield f"**Deploy:** {text(line)}.{f' {text(why, 1000)}.' if why else ''}"
        yield ""
    if commands := fix_command.commands(report):
        more = f", and {len(commands) - 1:,} more" if len(commands) > 1 else ""
        yield f"**Fix:** {code(commands[0])}{more}"
        yield ""


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _fitting(items: Mapping[int, str], worth: Mapping[int, int], room: int) -> list[int]:
    """Return the positions of the items that fit, in their order; the worst are kept first."""
    kept = set()
    for position in sorted(items, key=lambda each: (-worth[each], each)):
        if (size := len(items[position].encode()) + 1) <= room:
            room -= size
            kept.add(position)
    return [position for position in items if position in kept]


# The verdict.


def _summary(report: Report) -> Iterator[str]:
    over = headline.over_budget(report)
    for sentence in over[:_EXCEEDED]:
        yield f"- ❌ **Over the budget:** {text(sentence)}"
    if len(over) > _EXCEEDED:
        yield f"- and {len(over) - _EXCEEDED} more over the budget."
    if report.error is not None:
        yield f"- ❌ **Fails outside the migrations:** {text(first_line(report.error.message))}"
    if report.exceeded or report.error is not None:
        yield ""


def _verdicts(migrations: Sequence[MigrationResult], room: int) -> list[str]:
    lines = {position: _verdict(migrations[position]) for position in ranked(migrations)}
    worths = {position: worth(each) for position, each in enumerate(migrations)}
    kept = _fitting(lines, worths, room)
    more = len(lines) - len(kept)
    left = [f"- and {count(more, 'migration')} more, in the JSON report."] if more else []
    return [*(lines[position] for position in kept), *left]


def _verdict(migration: MigrationResult) -> str:
    found = verdict(migration, WORDS)
    backwards = " (backwards)" if migration.direction == "backward" else ""
    return f"- {_MARKS[found.mark]} {code(migration.label)}{backwards} {found.text}"


# The folded details.


def _details(report: Report, room: int) -> list[str]:
    """Return the details that fit, the worst migrations first."""
    migrations = own(report)
    blocks = {
        position: "\n".join(["", *details(migration)])
        for position, migration in enumerate(migrations)
        if migration.operations or migration.error is not None
    }
    kept = _fitting(blocks, {p: worth(migrations[p]) for p in blocks}, room)
    lines = [blocks[position] for position in kept]
    if left := len(blocks) - len(kept):
        left_out = f"_The details of {count(left, 'migration')} are left out: "
        lines += ["", f"{left_out}a comment takes 65,536 characters. The JSON report has them._"]
    return lines


# The end.


def _releases(report: Report) -> Iterator[str]:
    for each in deploy.new_code(report):
        yield f"- New code can't {text(each)}"
    for each in deploy.not_checked(report):
        yield f"- Not tried: {text(each)}"


def _closing(report: Report) -> Iterator[str]:
    if found := headline.severities(report.measured):
        yield f"Findings: {found}."
    first = [each for each in report.migrations if each not in own(report)]
    if first:
        labels = [code(each.label) for each in first[:10]]
        more = f" and {len(first) - 10} more" if len(first) > 10 else ""
        yield f"Rehearsed first, since they are pending too but not new: {', '.join(labels)}{more}."
    coverage = report.coverage
    in_part = coverage.not_rehearsed or closing.receivers_in_part(report)
    if coverage.substituted or coverage.skipped_by_router or in_part:
        yield closing.coverage(report)
    if report.reverse is not None:
        yield from _reverse(report)
    yield from _releases(report)
    for waiter in report.yielded_to:
        relation = f" on {code(waiter.relation)}" if waiter.relation else ""
        yield (
            f"Gave way to {text(waiter.application or 'a session')}, whose "
            f"{text(waiter.statement_kind or 'statement')}{relation} waited."
        )
    if step := headline.after_giving_way(report):
        yield text(step, 1000)
    for warning in report.warnings[:20]:
        yield f"Note: {text(steady(re.sub(r'session [0-9]+', 'another session', warning)))}"
    if report.sequences_moved:
        moved = [code(each.sequence) for each in report.sequences_moved[:10]]
        yield f"Sequences moved, which no rollback undoes: {', '.join(moved)}."
    if report.dead_bytes:
        yield f"Dead space left until VACUUM: {about_size(report.dead_bytes)}."
    yield ""
    yield f"<sub>{_whose(report)} {closing.ending(report)}</sub>"


def _reverse(report: Report) -> Iterator[str]:
    assert report.reverse is not None
    reverse = report.reverse
    why = text(first_line(reverse.error.message)) if reverse.error is not None else ""
    if reverse.outcome == "different":
        changes = [f"{e.kind} {e.object} {code(e.name)}" for e in reverse.differences[:10]]
        why = listed(changes)
    yield f"**Reverse:** {closing.undone(reverse)}{f': {why}' if why else '.'}"


def _whose(report: Report) -> str:
    database = report.database
    where = (
        f"Run on {code(database.name)}, PostgreSQL {text(database.server_version)}, "
        f"{about_size(database.size_bytes)}."
    )
    if report.production is None:
        return f"{where} Times are those of this database, not of production."
    return (
        f"{where} Times in production are forecasts for {code(report.production.database)} "
        f"as of {text(report.production.collected_at[:10])}."
    )
