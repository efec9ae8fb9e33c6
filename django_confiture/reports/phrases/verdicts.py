"""The verdict on one migration, in one line, for every format that is marked up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from django_confiture.dry_run.results import MigrationResult, Range, TableResult
from django_confiture.formatting import count
from django_confiture.reports.phrases import headline
from django_confiture.reports.phrases.wording import first_line

Mark = Literal["fails", "stopped", "skipped", "harm", "safe"]

_SAFE = "is safe: it blocks nobody"

_TABLES = 4
"""Tables of one migration that its verdict names."""


@dataclass(frozen=True)
class Words:
    """How a format writes what comes from outside, and figures."""

    code: Callable[[str], str]
    text: Callable[[str], str]
    duration: Callable[[float], str]


def verdict(migration: MigrationResult, words: Words) -> tuple[Mark, str]:
    """Return what to think of a migration, and why: the predicate of its name."""
    if migration.error is not None:
        first = words.text(first_line(migration.error.message))
        if migration.outcome == "not_run":
            return "stopped", f"was stopped before its end: {first}"
        return "fails", f"would fail: {first}{_rows_at_fault(migration, words)}"
    if migration.outcome == "not_run":
        return "skipped", "was not run"
    tables = sorted(migration.tables, key=lambda table: table.relation)
    blocks = _listed([_blocks(each, words) for each in tables if each.writes_blocked_ms])
    writes = _listed(
        [
            headline.keeps_locked(each, words.code(each.relation))
            for each in tables
            if each.rows_written and not each.reads_blocked_ms
        ]
    )
    does = "; ".join(filter(None, [blocks, writes]))
    if blocks and (migration.grows or headline.blocks_long(migration)):
        return "harm", does
    mark = _mark(migration, writes)
    if mark == "safe":
        return mark, f"is safe: it {does}, whatever the table's size" if does else _SAFE
    return mark, does if writes else f"{does or 'blocks nobody'}{_but(migration, words)}"


def _but(migration: MigrationResult, words: Words) -> str:
    """Return what else has to be known: the worst finding."""
    severities = ("danger", "warning")
    found = [f for f in headline.counted(migration.findings) if f.severity in severities]
    if not found:
        return ""
    worst = min(found, key=lambda each: severities.index(each.severity))
    return f"; {words.text(first_line(worst.message))}"


def worth(migration: MigrationResult) -> int:
    """Return how much there is to look at: 3 where it fails, 0 where there is nothing."""
    if migration.error is not None:
        return 3
    severities = {each.severity for each in headline.counted(migration.findings)}
    harm = (migration.grows or headline.blocks_long(migration)) and any(
        table.writes_blocked_ms for table in migration.tables
    )
    return 2 if harm or "danger" in severities else 1 if severities else 0


def _mark(migration: MigrationResult, harm: str = "") -> Mark:
    counts = headline.counted(migration.findings)
    warned = harm or any(each.severity in ("danger", "warning") for each in counts)
    return "harm" if warned else "safe"


def _listed(parts: Sequence[str]) -> str:
    more = len(parts) - _TABLES
    if more <= 0:
        return "; ".join(parts)
    return "; ".join([*parts[:_TABLES], f"and so on with {count(more, 'more table')}"])


def _blocks(table: TableResult, words: Words) -> str:
    reads, writes, where = table.reads_blocked_ms, table.writes_blocked_ms, ""
    if (production := table.production) is not None:
        reads, writes = _expected(production.reads_blocked), _expected(production.writes_blocked)
        where = " in production"
    name, said = words.code(table.relation), words.duration
    if not reads:
        return f"blocks writes on {name} for {said(writes)}{where}"
    if reads > 0.7 * writes:
        return f"blocks reads and writes on {name} for {said(writes)}{where}"
    return f"blocks writes on {name} for {said(writes)}, reads for {said(reads)}{where}"


def _expected(found: Range | None) -> float:
    return found.expected_ms if found is not None else 0.0


def _rows_at_fault(migration: MigrationResult, words: Words) -> str:
    rows = migration.error.violations if migration.error is not None else None
    if rows is None:
        return ""
    keys = f", such as {words.code(', '.join(rows.keys))}" if rows.keys else ""
    return f" ({count(rows.count, 'row')} of {words.code(rows.relation)}{keys})"
