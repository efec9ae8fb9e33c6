"""The report as a comment on a pull request: the verdict first, the details folded.

Two runs differ only where the facts do: figures that vary are rounded to 1, 2 or 5 of a unit, and
there are no times of day and no process ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from django_confiture.dry_run.results import MigrationResult, Range, Report, TableResult
from django_confiture.dry_run.units import count, listed
from django_confiture.reports import headline
from django_confiture.reports.markdown_details import details
from django_confiture.reports.markdown_text import code, text
from django_confiture.reports.problems import own
from django_confiture.reports.wording import about, about_size, first_line, steady

MARKER = "<!-- django-confiture migrate_dryrun -->"
"""The first line, by which a job finds the comment that it wrote before."""

LIMIT = 65_536
"""Characters of a comment that GitHub takes; kept in bytes, which is never more."""

_EXCEEDED = 20
_TABLES = 4
"""Tables of one migration that its verdict names."""


def render(report: Report, **_options: object) -> str:
    """Return the report; what does not fit is left out from the end of the details, and said."""
    head = [MARKER, f"## {text(headline.subject(report))}: {text(headline.outcome(report))}", ""]
    head += _summary(report)
    tail = ["", *_closing(report)]
    room = LIMIT - _size([*head, *tail]) - 300
    verdicts = _verdicts(own(report), room)
    room -= _size(verdicts)
    return "\n".join([*head, *verdicts, *_details(report, room), *tail]) + "\n"


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _fitting(items: Mapping[int, str], worth: Mapping[int, int], room: int) -> list[int]:
    """Return the positions of those that there is room for, in order; the worst go first."""
    kept = []
    for position in sorted(items, key=lambda each: (-worth[each], each)):
        if (size := len(items[position].encode()) + 1) <= room:
            room -= size
            kept.append(position)
    return sorted(kept)


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
    lines = {position: _verdict(each) for position, each in enumerate(migrations)}
    worth = {position: _worth(each) for position, each in enumerate(migrations)}
    kept = _fitting(lines, worth, room)
    more = len(lines) - len(kept)
    left = [f"- and {count(more, 'migration')} more, in the JSON report."] if more else []
    return [*(lines[position] for position in kept), *left]


def _verdict(migration: MigrationResult) -> str:
    backwards = " (backwards)" if migration.direction == "backward" else ""
    name = f"{code(migration.label)}{backwards}"
    if migration.error is not None:
        first = first_line(migration.error.message)
        if migration.outcome == "not_run":
            return f"- ⏹️ {name} was stopped before its end: {text(first)}"
        return f"- ❌ {name} would fail: {text(first)}{_rows_at_fault(migration)}"
    if migration.outcome == "not_run":
        return f"- ⏭️ {name} was not run"
    blocks = _listed([_blocks(each) for each in _by_name(migration) if each.writes_blocked_ms])
    writes = _listed(
        [
            f"writes {count(each.rows_written, 'row')} of {code(each.relation)} "
            "and keeps them locked"
            for each in _by_name(migration)
            if each.rows_written and not each.reads_blocked_ms
        ]
    )
    does = "; ".join(filter(None, [blocks, writes]))
    if blocks and migration.grows:
        return f"- ⚠️ {name} {does}"
    if blocks:
        return f"- {_mark(migration)} {name} is safe: it {does}, whatever the table's size"
    return f"- {_mark(migration, writes)} {name} {writes or 'is safe: it blocks nobody'}"


def _mark(migration: MigrationResult, harm: str = "") -> str:
    counts = headline.counted(migration.findings)
    warned = harm or any(each.severity in ("danger", "warning") for each in counts)
    return "⚠️" if warned else "✅"


def _by_name(migration: MigrationResult) -> list[TableResult]:
    return sorted(migration.tables, key=lambda table: table.relation)


def _listed(parts: Sequence[str]) -> str:
    more = len(parts) - _TABLES
    if more <= 0:
        return "; ".join(parts)
    return "; ".join([*parts[:_TABLES], f"and so on with {count(more, 'more table')}"])


def _blocks(table: TableResult) -> str:
    reads, writes, where = table.reads_blocked_ms, table.writes_blocked_ms, ""
    if (production := table.production) is not None:
        reads, writes = _expected(production.reads_blocked), _expected(production.writes_blocked)
        where = " in production"
    name = code(table.relation)
    if not reads:
        return f"blocks writes on {name} for {about(writes)}{where}"
    if reads > 0.7 * writes:
        return f"blocks reads and writes on {name} for {about(writes)}{where}"
    return f"blocks writes on {name} for {about(writes)}, reads for {about(reads)}{where}"


def _expected(found: Range | None) -> float:
    return found.expected_ms if found is not None else 0.0


def _rows_at_fault(migration: MigrationResult) -> str:
    rows = migration.error.violations if migration.error is not None else None
    if rows is None:
        return ""
    keys = f", such as {code(', '.join(rows.keys))}" if rows.keys else ""
    return f" ({count(rows.count, 'row')} of {code(rows.relation)}{keys})"


# What is folded.


def _details(report: Report, room: int) -> list[str]:
    """Return the details that fit: those with something to say before those without."""
    migrations = own(report)
    blocks = {
        position: "\n".join(["", *details(migration)])
        for position, migration in enumerate(migrations)
        if migration.operations or migration.error is not None
    }
    kept = _fitting(blocks, {p: _worth(migrations[p]) for p in blocks}, room)
    lines = [blocks[position] for position in kept]
    if left := len(blocks) - len(kept):
        left_out = f"_The details of {count(left, 'migration')} are left out: "
        lines += ["", f"{left_out}a comment takes 65,536 characters. The JSON report has them._"]
    return lines


def _worth(migration: MigrationResult) -> int:
    if migration.error is not None:
        return 3
    severities = {each.severity for each in headline.counted(migration.findings)}
    harm = migration.grows and any(table.writes_blocked_ms for table in migration.tables)
    return 2 if harm or "danger" in severities else 1 if severities else 0


# The end.


def _closing(report: Report) -> Iterator[str]:
    if found := headline.severities(report.migrations):
        yield f"Findings: {found}."
    first = [each for each in report.migrations if each not in own(report)]
    if first:
        labels = [code(each.label) for each in first[:10]]
        more = f" and {len(first) - 10} more" if len(first) > 10 else ""
        yield f"Rehearsed first, since they are pending too but not new: {', '.join(labels)}{more}."
    coverage = report.coverage
    if coverage.substituted or coverage.not_rehearsed:
        yield (
            f"{count(coverage.exact, 'operation')} ran as they will, "
            f"{coverage.substituted} in another form, {coverage.not_rehearsed} not at all."
        )
    if report.reverse is not None:
        yield from _reverse(report)
    for waiter in report.yielded_to:
        relation = f" on {code(waiter.relation)}" if waiter.relation else ""
        yield (
            f"Gave way to {text(waiter.application or 'a session')}, whose "
            f"{text(waiter.statement_kind or 'statement')}{relation} waited."
        )
    for warning in report.warnings[:20]:
        yield f"Note: {text(steady(re.sub(r'session [0-9]+', 'another session', warning)))}"
    if report.sequences_moved:
        moved = [code(each.sequence) for each in report.sequences_moved[:10]]
        yield f"Sequences moved, which no rollback undoes: {', '.join(moved)}."
    if report.dead_bytes:
        yield f"Dead space left until VACUUM: {about_size(report.dead_bytes)}."
    yield ""
    end = "Everything was rolled back." if report.mode == "transaction" else "It ran on a copy."
    yield f"<sub>{_whose(report)} {end}</sub>"


_REVERSED = {
    "same": "undone, and the schema is as it was before.",
    "different": "undone, but the schema is not as it was before: ",
    "irreversible": "can't be undone: ",
    "failed": "undoing fails: ",
}


def _reverse(report: Report) -> Iterator[str]:
    assert report.reverse is not None
    reverse = report.reverse
    why = text(first_line(reverse.error.message)) if reverse.error is not None else ""
    if reverse.outcome == "different":
        changes = [f"{e.kind} {e.object} {code(e.name)}" for e in reverse.differences[:10]]
        why = listed(changes)
    yield f"**Reverse:** {_REVERSED[reverse.outcome]}{why}"


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
