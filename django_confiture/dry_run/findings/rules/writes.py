"""Rows written in bulk, and work of any kind while a table is locked from before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from django_confiture.dry_run.findings.finding import evidence, finding, shortened
from django_confiture.dry_run.findings.subject import Held, JudgedStatement, Subject
from django_confiture.dry_run.findings.thresholds import (
    LONG_MS,
    is_many,
    reads_many,
    rows_read,
    writes_many,
)
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.results import Finding, OperationResult, TableResult
from django_confiture.dry_run.sql.parsing.parser import Kind
from django_confiture.formatting import count, duration, listed


@dataclass
class _Table:
    """What one transaction writes to one table."""

    rows: float = 0
    changed: float = 0
    steps: list[JudgedStatement] = field(default_factory=list)


def bulk_writes(subject: Subject, damage: Sequence[Finding]) -> Iterator[Finding]:
    """Yield the bulk writes and the work under locks; ``damage`` is what the DDL does."""
    locked = [*_under_lock(subject), *_long_work(subject)]
    yield from _grouped(subject, locked, damage)
    under_lock = {work.operation for work in locked if work.writes}
    for table, written in _bulk(subject):
        step = max(written.steps, key=lambda step: step.result.rows_written)
        if not {each.operation for each in written.steps} & under_lock:
            yield _backfill(subject, table, written, step)


def _bulk(subject: Subject) -> Iterator[tuple[str, _Table]]:
    """Yield the tables of which one transaction writes many rows, once each."""
    transactions: dict[int, dict[str, _Table]] = defaultdict(lambda: defaultdict(_Table))
    for step in subject.steps:
        if step.statement.kind is Kind.DDL:
            continue
        for transaction, runs in step.runs.items():
            share = runs / sum(step.runs.values())
            for write in step.result.writes:
                table = transactions[transaction][write.relation]
                changed = write.updated + write.deleted
                table.rows += (write.inserted + changed) * share
                table.changed += changed * share
                table.steps.append(step)
    found: dict[str, _Table] = {}
    for tables in transactions.values():
        for name, table in tables.items():
            if is_many(subject, name, table.rows, table.changed):
                found.setdefault(name, table)
    yield from found.items()


def _backfill(subject: Subject, table: str, written: _Table, step: JudgedStatement) -> Finding:
    rows = round(written.rows)
    known = subject.rows(table)
    of = f" of about {known:,}" if known else ""
    return finding(
        "backfill-in-one-transaction",
        step,
        table,
        f"One transaction writes {count(rows, 'row')} of {table} and keeps them locked",
        evidence=[
            f"{count(rows, 'row')}{of} written, all locked until the commit",
            *(line for line in evidence(subject, step, table) if "WAL" in line or "reads" in line),
        ],
    )


@dataclass(frozen=True)
class _Work:
    """Work that ran while tables were locked by something before it."""

    operation: int | None
    tables: tuple[str, ...]
    since: Held
    writes: bool
    what: str


def _under_lock(subject: Subject) -> Iterator[_Work]:
    """Yield what statements read and write while tables are locked by others before them."""
    writing: dict[int | None, list[tuple[JudgedStatement, dict[str, Held]]]] = defaultdict(list)
    for step in subject.steps:
        held = _held(subject, step)
        if not held:
            continue
        is_ddl = step.statement.kind is Kind.DDL
        if not is_ddl and step.result.rows_written:
            writing[step.operation].append((step, held))
        since = _strongest(held)
        if reads_many(subject, step) and not (is_ddl and since.step.operation == step.operation):
            what = f"{shortened(step.result.text)} reads {count(rows_read(step), 'row')}"
            yield _Work(step.operation, tuple(held), since, writes=False, what=what)
    for each in writing.values():
        yield from _written_under_lock(subject, each)


def _written_under_lock(
    subject: Subject, writing: Sequence[tuple[JudgedStatement, dict[str, Held]]]
) -> Iterator[_Work]:
    """Yield the statements of an operation that write many rows; the largest of many small ones."""
    found = [each for each in writing if writes_many(subject, [each[0]], each[1])]
    locked = {table for _step, held in writing for table in held}
    if not found and writes_many(subject, [step for step, _held in writing], locked):
        found = [max(writing, key=lambda each: each[0].result.rows_written)]
    for step, held in found:
        rows = step.result.rows_written
        what = f"{shortened(step.result.text)} writes {count(rows, 'row')}"
        yield _Work(step.operation, tuple(held), _strongest(held), writes=True, what=what)


def _strongest(held: Mapping[str, Held]) -> Held:
    return max(held.values(), key=lambda lock: lock.mode)


def _held(subject: Subject, step: JudgedStatement) -> dict[str, Held]:
    """Return the tables locked while it ran: from before, or by the code that it hides."""
    held = dict(step.held)
    if step.hides_effects:
        for table in step.locks:
            mode = step.locks[table]
            if mode.blocks_writes and table not in held:
                held[table] = Held(mode, step)
    return {table: lock for table, lock in held.items() if table in subject.relations}


def _long_work(subject: Subject) -> Iterator[_Work]:
    """Yield operations that run code for long while tables are blocked, whatever it does."""
    for operation in subject.result.operations:
        if not operation.name.startswith("Run"):
            continue
        steps = [step for step in subject.steps if step.operation == operation.index]
        ddl = (s.result.duration_ms for s in steps if s.statement.kind is Kind.DDL)
        needed = LONG_MS + sum(ddl)
        held = {
            table.relation: since
            for table in subject.result.tables
            if _overlap(table, operation) >= needed
            and (since := _taken(subject, table)) is not None
        }
        if held:
            since = max(held.values(), key=lambda lock: lock.mode)
            what = f"{operation.description} takes {duration(operation.duration_ms)}"
            yield _Work(operation.index, tuple(held), since, writes=False, what=what)


def _overlap(table: TableResult, operation: OperationResult) -> float:
    """Return for how many ms of an operation a table was blocked."""
    start, end = operation.started_ms, operation.started_ms + operation.duration_ms
    return sum(max(0.0, min(end, b.end_ms) - max(start, b.start_ms)) for b in table.blocked)


def _taken(subject: Subject, table: TableResult) -> Held | None:
    by = (step for step in subject.steps if step.result.text == table.blocked_by)
    return next((Held(LockMode[table.strongest_lock], step) for step in by), None)


def _grouped(
    subject: Subject, locked: Iterable[_Work], damage: Sequence[Finding]
) -> Iterator[Finding]:
    """Yield one finding for each operation, about the tables that no other finding covers."""
    harmed = {each.relation for each in damage if each.severity == "danger"}
    by_operation: dict[int | None, list[_Work]] = defaultdict(list)
    for work in locked:
        by_operation[work.operation].append(work)
    for operation, works in by_operation.items():
        writing = [work for work in works if work.writes]
        tables = list(dict.fromkeys(table for work in works for table in work.tables))
        if not writing:
            tables = [table for table in tables if table not in harmed]
        if tables:
            yield _while_locked(subject, operation, writing or works, tables)


def _while_locked(
    subject: Subject, operation: int | None, works: Sequence[_Work], tables: Sequence[str]
) -> Finding:
    writes = works[0].writes
    since = works[0].since
    verb = "Rows are written" if writes else "There is work"
    table = tables[0]
    reads_ms, writes_ms = subject.blocked_ms(table)
    return finding(
        "backfill-while-locked" if writes else "work-while-locked",
        operation,
        table,
        f"{verb} while {_waits(subject, tables)} are blocked",
        evidence=[
            f"{since.mode.name} is held since {shortened(since.step.result.text)}",
            *dict.fromkeys(work.what for work in works),
            *([f"reads of {table} blocked for {duration(reads_ms)} here"] if reads_ms else ()),
            f"writes to {table} blocked for {duration(writes_ms)} here",
        ],
    )


def _waits(subject: Subject, tables: Sequence[str]) -> str:
    both = [table for table in tables if subject.blocked_ms(table)[0]]
    writes = [table for table in tables if table not in both]
    parts = (("reads and writes of", both), ("writes to", writes))
    return " and ".join(f"{what} {listed(tuple(names))}" for what, names in parts if names)
