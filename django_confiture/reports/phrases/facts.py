"""What statements, operations and hooks did: each fact is a label and a text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.results import (
    HookOutcome,
    OperationResult,
    Scan,
    StatementResult,
    TableLock,
    Violations,
)
from django_confiture.formatting import count, listed
from django_confiture.reports.phrases.forecast import between
from django_confiture.reports.phrases.wording import Words

_REHEARSED = {
    "substituted": "In another form",
    "not_rehearsed": "Not rehearsed",
    "skipped_by_router": "Not on this database",
    "exact": "Note",
}

_NAMES = 10
"""The most names in one fact; the JSON report has all."""
_WAL_BYTES = 1024
"""The least WAL that is mentioned."""


@dataclass(frozen=True)
class Fact:
    """One fact, such as ``rewrites`` and ``shop_order``."""

    label: str
    text: str
    needs_label: bool = True
    """Whether the text is unclear without its label."""

    @property
    def sentence(self) -> str:
        """Return the fact for formats without a column of labels."""
        return f"{self.label} {self.text}" if self.needs_label else self.text


def reason_label(operation: OperationResult) -> str:
    """Return the label of an operation's reason."""
    return "Not caught" if operation.unseen else _REHEARSED[operation.rehearsed]


def operation_facts(
    operation: OperationResult, tables: Collection[str], words: Words
) -> Iterator[Fact]:
    """Yield what an operation's statements did, and the strongest lock on each of ``tables``."""
    statements = operation.statements
    if rows := sum(statement.rows_written for statement in statements):
        yield Fact("writes", count(rows, "row"))
    if locked := sum(statement.rows_locked or 0 for statement in statements):
        yield Fact("locks", count(locked, "row"))
    yield from _work(statements, words)
    yield from _locks(statements, tables, words)
    yield from _waits(statements, words)


def statement_facts(
    statement: StatementResult, tables: Collection[str], words: Words, *, forecast: bool
) -> Iterator[Fact]:
    """Yield what one statement did, how much WAL it wrote, how it grows, and its forecast."""
    if statement.rows_written:
        yield Fact("writes", count(statement.rows_written, "row"))
    if statement.rows_locked:
        yield Fact("locks", count(statement.rows_locked, "row"))
    yield from _work([statement], words)
    if (statement.wal_bytes or 0) >= _WAL_BYTES:
        yield Fact("writes", f"{words.size(statement.wal_bytes or 0)} of WAL", needs_label=False)
    yield from _locks([statement], tables, words)
    yield from _waits([statement], words)
    if statement.sampled is not None:
        low, high = statement.sampled.rows
        power = f"its rows to the power of {statement.sampled.exponent:.2f}"
        yield Fact("grows", f"with {power}, by samples of {low:,} and {high:,}")
    estimate = statement.estimate if forecast else None
    if estimate is not None and estimate.high_ms >= 1:
        text = f"{words.expected(estimate.expected_ms)} ({between(estimate)})"
        yield Fact("in production", text)


def _work(statements: Sequence[StatementResult], words: Words) -> Iterator[Fact]:
    scans = [_scanned(scan, words) for statement in statements for scan in statement.scans]
    yield from (Fact("reads", text) for text in dict.fromkeys(scans))
    for label, field in (
        ("rewrites", "rewrites"),
        ("builds", "indexes_built"),
        ("checks", "constraints"),
    ):
        names = [name for statement in statements for name in getattr(statement, field)]
        if names:
            yield Fact(label, _listed_names(list(dict.fromkeys(names)), words))


def _scanned(scan: Scan, words: Words) -> str:
    rows = "every row" if scan.rows is None else count(scan.rows, "row")
    passes = f" in {scan.passes} passes" if scan.passes > 1 else ""
    return f"{words.code(scan.relation)}: {rows}{passes}"


def _listed_names(names: Sequence[str], words: Words) -> str:
    shown = [words.code(name) for name in names[:_NAMES]]
    more = len(names) - len(shown)
    return listed([*shown, f"{more:,} more"] if more else shown)


def _locks(
    statements: Sequence[StatementResult], tables: Collection[str], words: Words
) -> Iterator[Fact]:
    """Yield the strongest lock on each table, unless it only conflicts with DDL."""
    strongest: dict[str, TableLock] = {}
    for lock in (each for statement in statements for each in statement.locks):
        known = strongest.get(lock.relation)
        if known is None or LockMode[lock.mode] > LockMode[known.mode]:
            strongest[lock.relation] = lock
    for relation, lock in strongest.items():
        mode = LockMode[lock.mode]
        if relation in tables and mode >= LockMode.RowExclusiveLock:
            held = ", held since before" if lock.inherited else ""
            text = f"{mode.name} on {words.code(relation)}{_effect(mode)}{held}"
            yield Fact("takes", text, needs_label=False)


def _waits(statements: Sequence[StatementResult], words: Words) -> Iterator[Fact]:
    """Yield for whom the dry run waited, which is in no other figure."""
    waits: dict[str, float] = {}
    for wait in (each for statement in statements for each in statement.waits):
        who = listed([words.text(name) for name in wait.blocked_by]) or "another transaction"
        waits[who] = waits.get(who, 0.0) + wait.ms
    for who, ms in waits.items():
        yield Fact("waited", f"{words.duration(ms)} for {who}")


def _effect(mode: LockMode) -> str:
    if mode.blocks_reads:
        return ", blocks reads and writes"
    return ", blocks writes" if mode.blocks_writes else ""


def hook_line(hook: HookOutcome, words: Words) -> str:
    """Return a hook, its phase, and how it ended."""
    name = f"{words.code(hook.hook)} ({hook.phase})"
    if hook.outcome == "completed":
        rows = count(hook.rows_affected, "row")
        return f"{name}: {rows} in {words.duration(hook.duration_ms)}"
    reason = f": {words.text(hook.reason)}" if hook.reason else ""
    return f"{name} {words.text(hook.outcome)}{reason}"


def offending_rows(rows: Violations, words: Words) -> str:
    """Return the number of rows that stand in the way, their table, and the first keys."""
    keys = f", such as {words.code(', '.join(rows.keys))}" if rows.keys else ""
    table = words.code(rows.relation)
    if rows.count is None:
        return f"rows of {table}{keys}; they are too many to count in 5 s"
    return f"{count(rows.count, 'row')} of {table}{keys}"
