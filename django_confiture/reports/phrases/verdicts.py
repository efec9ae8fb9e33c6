"""The verdict on one migration: a mark, and one line that every format prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from django_confiture.dry_run.results import MigrationResult, TableResult
from django_confiture.dry_run.results.blocking import blocking_of
from django_confiture.formatting import count, listed
from django_confiture.reports.phrases import harm, headline
from django_confiture.reports.phrases.facts import offending_rows
from django_confiture.reports.phrases.wording import Words, first_line

Mark = Literal["fails", "stopped", "skipped", "locks", "rows", "risk", "part", "safe"]
"""``locks``: blocks a table in a way that matters; ``rows``: keeps rows locked; ``risk``: only a
finding warns of it; ``part``: nothing else is wrong, but not all of it could be measured."""

_TABLES = 4
"""The most tables of one migration that its verdict names."""


@dataclass(frozen=True)
class Verdict:
    """The mark of a migration and its reason, which reads on after the migration's name."""

    mark: Mark
    text: str


def verdict(migration: MigrationResult, words: Words) -> Verdict:
    """Return the verdict in the words of a format."""
    if migration.error is not None:
        first = words.text(first_line(migration.error.message))
        if migration.outcome == "not_run":
            return Verdict("stopped", f"was stopped partway: {first}")
        rows = migration.error.violations
        which = f" ({offending_rows(rows, words)})" if rows is not None else ""
        doubt = f"; {said}" if (said := doubts(migration, words)) else ""
        return Verdict("fails", f"would fail: {first}{which}{doubt}")
    if migration.outcome == "not_run":
        return Verdict("skipped", "was not run")
    return _of_passed(migration, words)


def doubts(migration: MigrationResult, words: Words) -> str:
    """Return why a failure may come of the dry run itself, ``""`` where it is the real one."""
    if migration.outcome != "failed" or migration.error is None or not migration.error.operation:
        return ""
    last = migration.operations[-1] if migration.operations else None
    if last is None or last.rehearsed != "not_rehearsed":
        return ""
    return f"that operation is not rehearsed exactly: {words.text(first_line(last.reason))}"


def _of_passed(migration: MigrationResult, words: Words) -> Verdict:
    if migration.skipped_by_router:
        return Verdict("skipped", f"does not run on this database: {routed([migration])}")
    tables = sorted(migration.tables, key=lambda table: table.relation)
    blocks = _listed([blocks_table(each, words) for each in tables if each.writes_blocked_ms])
    writes = _listed(
        [
            headline.keeps_locked(each, words.code(each.relation))
            for each in tables
            if (each.rows_written or each.row_locks) and not each.reads_blocked_ms
        ]
    )
    does = "; ".join(filter(None, [blocks, writes]))
    if harm.stops_writers(migration):
        return Verdict("locks", does)
    if writes:
        return Verdict("rows", does)
    if headline.has_warning(migration):
        worst = words.text(_going_on(_worst_finding(migration)))
        return Verdict("risk", f"{does or 'blocks no one'}; {worst}")
    if unmeasured := _unmeasured(migration, words):
        known = f"{does or 'blocks no one'}, as far as it could be measured"
        return Verdict("part", f"{known}: {unmeasured}")
    if blocks:
        return Verdict("safe", f"is safe: it {does}, whatever the table's size")
    return Verdict("safe", "is safe: it blocks no one")


def reason(migration: MigrationResult, words: Words) -> str:
    """Return the verdict in a few words, for the line of the migration's name."""
    found = verdict(migration, words)
    if found.mark == "locks":
        return _stopped(migration, words)
    if found.mark == "risk":
        return words.text(_worst_finding(migration))
    if found.mark == "part":
        return _unmeasured(migration, words)
    return "" if found.mark == "safe" else found.text


def _unmeasured(migration: MigrationResult, words: Words) -> str:
    """Return why not all of it is known, ``""`` if it is: the first reason stands for all."""
    reasons = [words.text(first_line(each)) for each in harm.unmeasured(migration)]
    more = f" ({len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"{reasons[0].rstrip('.')}{more}" if reasons else ""


def _stopped(migration: MigrationResult, words: Words) -> str:
    """Return which tables' reads and writes it blocks, the longest first."""
    blocked = sorted(
        (each for each in migration.tables if each.writes_blocked_ms),
        key=lambda each: (-blocking_of(each).writes_ms, each.relation),
    )
    tables: dict[str, list[str]] = {}
    for each in blocked:
        tables.setdefault(blocking_of(each).what, []).append(words.code(each.relation))
    parts = [f"{what} of {listed(names[:_TABLES])}" for what, names in tables.items()]
    more = sum(len(names[_TABLES:]) for names in tables.values())
    return "; ".join([*parts, *([count(more, "more table")] if more else [])])


def routed(migrations: Iterable[MigrationResult]) -> str:
    """Return what the router says of migrations that it keeps off this database."""
    reasons = (each.reason for migration in migrations for each in migration.operations)
    return listed(tuple(dict.fromkeys(reasons)))


def blocks_table(table: TableResult, words: Words) -> str:
    """Return what is blocked on a table and for how long, in production if that is known."""
    blocking = blocking_of(table)
    name = words.code(table.relation)
    said, where = words.duration, ""
    if blocking.forecast:
        said, where = words.expected, " in production"
    first = f"blocks {blocking.what} on {name} for {said(blocking.writes_ms)}{where}"
    if blocking.together or not blocking.reads_ms:
        return first
    return f"{first}, reads for {said(blocking.reads_ms)}"


def _worst_finding(migration: MigrationResult) -> str:
    order = ("danger", "warning", "notice")
    counted = harm.counted(migration)
    worst = min(counted, key=lambda each: order.index(each.severity))
    return first_line(worst.message)


def _going_on(sentence: str) -> str:
    """Return a sentence as it stands after a semicolon; SQL keeps its capitals."""
    first = sentence.partition(" ")[0]
    return sentence[:1].lower() + sentence[1:] if first.istitle() else sentence


def _listed(parts: Sequence[str]) -> str:
    more = len(parts) - _TABLES
    if more <= 0:
        return "; ".join(parts)
    return "; ".join([*parts[:_TABLES], f"and so on for {count(more, 'more table')}"])
