"""What a migration means for one table in production: who waits, and for how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_confiture.dry_run.estimates.calibration import Z
from django_confiture.dry_run.estimates.growth import ItemForecast
from django_confiture.dry_run.estimates.row_counts import Sizes
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.results import Blocked, Production, Range, TableResult
from django_confiture.formatting import duration
from django_confiture.production import TableStats


def production_of(
    table: TableResult, parts: Sequence[ItemForecast], sizes: Sizes
) -> Production | None:
    """Return the forecast for one table; None without production's statistics of it."""
    stats = sizes.table(table.relation)
    if stats is None or sizes.stats is None:
        return None
    reads = _together([each for each in table.blocked if each.what == "reads"], parts)
    writes = _together(table.blocked, parts)
    oldest = sizes.stats.oldest_transaction_seconds
    return Production(
        rows=sizes.scale(table.relation).there,
        reads_blocked=reads,
        writes_blocked=writes,
        impact=tuple(_impact(table, stats, reads, writes, oldest)),
        rows_locked=_together(table.row_locks, parts),
    )


def _together(stretches: Sequence[Blocked], parts: Sequence[ItemForecast]) -> Range | None:
    """Return how long the stretches take when every part takes what is forecast."""
    if not stretches:
        return None
    low = expected = high = 0.0
    for each in stretches:
        unaccounted = each.end_ms - each.start_ms
        for part in parts:
            share = _share(part, each)
            found = part.range(Z)
            low += share * found.low_ms
            expected += share * found.expected_ms
            high += share * found.high_ms
            unaccounted -= share * part.item.duration_ms
        rest = max(0.0, unaccounted)
        low, expected, high = low + rest, expected + rest, high + rest
    return Range(low, expected, high)


def _share(part: ItemForecast, stretch: Blocked) -> float:
    """Return which share of a part's time is inside a stretch, by when it ran here."""
    item = part.item
    if item.duration_ms <= 0:
        return 0.0
    start, end = item.started_ms, item.started_ms + item.duration_ms
    inside = min(end, stretch.end_ms) - max(start, stretch.start_ms)
    return min(1.0, max(0.0, inside / item.duration_ms))


def _impact(
    table: TableResult,
    stats: TableStats,
    reads: Range | None,
    writes: Range | None,
    oldest_seconds: float | None,
) -> Iterator[str]:
    for blocked, rate, what in (
        (reads, stats.reads_per_second, "reads of"),
        (writes, stats.writes_per_second, "writes to"),
    ):
        if blocked is None:
            continue
        longest = f"up to {duration(blocked.high_ms)} (expected {duration(blocked.expected_ms)})"
        if rate is None:
            yield f"{what} {table.relation} would wait {longest}; how many is not known"
            continue
        waiting = rate * blocked.expected_ms / 1000
        if waiting >= 1:
            yield f"about {_count(waiting)} {what} {table.relation} would wait {longest}"
        elif waiting > 0.01:
            yield f"{what} {table.relation} rarely fall into the {duration(blocked.expected_ms)}"
    if (reads or writes) and oldest_seconds is not None and oldest_seconds >= 1:
        behind = "reads and writes" if LockMode[table.strongest_lock].blocks_reads else "writes"
        yield (
            f"the lock on {table.relation} may first have to wait for open transactions, the "
            f"oldest of which had run for {duration(oldest_seconds * 1000)}; new {behind} queue "
            "behind it meanwhile"
        )


def _count(number: float) -> str:
    digits = len(str(int(number)))
    return f"{round(number, min(0, 2 - digits)):,.0f}"
