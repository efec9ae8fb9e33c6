"""What a migration writes in production: WAL, dead rows, new files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django_confiture.dry_run.estimates.growth import ItemForecast
from django_confiture.dry_run.estimates.row_counts import Sizes

_ROW_HEADER = 28
"""Bytes of a row's header and line pointer, where its width is not known."""


@dataclass(frozen=True)
class Volumes:
    """Bytes; None where they are not known."""

    wal: int | None
    dead: int | None
    disk: int | None


def volumes(parts: Sequence[ItemForecast], sizes: Sizes) -> Volumes:
    """Return what a migration writes to the WAL, leaves dead, and needs of the disk.

    WAL and dead rows grow with the rows. A rewritten table needs as much disk as its heap and
    indexes have; a new index about what its build writes to the WAL.
    """
    statements = [part for part in parts if part.item.step is not None]
    wal = [
        part.item.step.result.wal_bytes * part.times
        for part in statements
        if part.item.step is not None and part.item.step.result.wal_bytes is not None
    ]
    return Volumes(
        wal=round(sum(wal)) if wal else None,
        dead=round(sum(_dead(part, sizes) for part in statements)),
        disk=_disk(statements, sizes),
    )


def _dead(part: ItemForecast, sizes: Sizes) -> float:
    assert part.item.step is not None
    found = 0.0
    for write in part.item.step.result.writes:
        scale = sizes.scale(write.relation, part.item.work.sizes.get(write.relation))
        table = sizes.table(write.relation)
        width = table.row_bytes if table is not None and table.row_bytes else _ROW_HEADER
        found += (write.updated + write.deleted) * (scale.ratio or 1.0) * width
    return found


def _disk(parts: Sequence[ItemForecast], sizes: Sizes) -> int | None:
    if sizes.stats is None:
        return None
    needed = 0.0
    for part in parts:
        assert part.item.step is not None
        result = part.item.step.result
        for relation in result.rewrites:
            table = sizes.table(relation)
            if table is None:
                return None
            needed += table.heap_bytes + table.index_bytes
        if not result.rewrites and part.item.work.kind.startswith("index"):
            needed += (result.wal_bytes or 0) * part.times
    return round(needed)
