"""A migration's time in parts, each with what it grows with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from django_confiture.dry_run.estimates.statement_work import (
    INSERT,
    METADATA,
    PYTHON,
    ROW_BY_ROW,
    SELECT,
    Work,
    work_of,
)
from django_confiture.dry_run.findings.subject import JudgedStatement
from django_confiture.dry_run.results import MigrationResult, Sampled

_MANY = 20
"""A text that ran at least this often ran in a Python loop, which its time follows."""


_LOOPED_OVER = (SELECT, ROW_BY_ROW)
"""Whose rows Python goes through."""


@dataclass(frozen=True)
class Item:
    """A part of a migration's time."""

    work: Work
    duration_ms: float
    started_ms: float = 0.0
    operation: int | None = None
    step: JudgedStatement | None = field(default=None, compare=False)
    """The statement; None for what passes between them."""
    sampled: Sampled | None = None


def items_of(
    result: MigrationResult,
    steps: Sequence[JudgedStatement],
    index_kinds: Mapping[str, str],
    origins: dict[str, Work],
) -> list[Item]:
    """Return the parts of a migration; together they are its whole duration.

    ``origins`` remembers from which tables the plan has filled the new ones; it is added to.
    """
    items = [_item(step, work) for step, work in _works(steps, index_kinds, origins)]
    for operation in result.operations:
        own = [item for item in items if item.operation == operation.index]
        rest = operation.duration_ms - sum(item.duration_ms for item in own)
        if rest > 0:
            grows = _together(item.work for item in own if item.work.kind in _LOOPED_OVER)
            work = Work(PYTHON, grows.rows, grows.sizes) if grows.rows else Work(METADATA)
            items.append(Item(work, rest, operation.started_ms, operation.index))
    written = _together(item.work for item in items if item.work.kind not in (SELECT, METADATA))
    rest = result.duration_ms - sum(item.duration_ms for item in items)
    checked = min(result.commit_ms, max(rest, 0.0))
    if checked and written.rows:
        items.append(Item(replace(written, kind="commit"), checked, result.duration_ms))
        rest -= checked
    items.append(Item(Work(METADATA), max(rest, 0.0)))
    return items


def _item(step: JudgedStatement, work: Work) -> Item:
    result = step.result
    return Item(work, result.duration_ms, result.started_ms, step.operation, step, result.sampled)


def _works(
    steps: Sequence[JudgedStatement], index_kinds: Mapping[str, str], origins: dict[str, Work]
) -> Iterator[tuple[JudgedStatement, Work]]:
    """Yield the work of each statement in the order in which they ran."""
    read: dict[int | None, Work] = {}
    for step in sorted(steps, key=lambda step: step.id):
        work = work_of(step, index_kinds)
        if work.kind == SELECT and work.rows:
            read[step.operation] = _together([work, read.get(step.operation, Work(SELECT))])
        if work.of_new is not None and work.of_new in origins:
            origin = origins[work.of_new]
            work = replace(work, rows={**origin.rows, **work.rows}, sizes=origin.sizes)
        if work.kind == INSERT:
            if not work.rows and step.operation in read:
                work = replace(work, rows=read[step.operation].rows)
            if work.fills is not None and work.rows:
                origins.setdefault(work.fills, work)
        if step.result.executions >= _MANY and work.rows:
            work = replace(work, kind=ROW_BY_ROW)
        yield step, work


def _together(works: Iterable[Work]) -> Work:
    rows: Counter[str] = Counter()
    sizes: dict[str, int] = {}
    for work in works:
        rows.update(work.rows)
        sizes.update(work.sizes)
    return Work(SELECT, dict(rows), sizes)
