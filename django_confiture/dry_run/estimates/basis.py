"""What a forecast rests on, in words: which tables, how much larger, what was not measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_confiture.dry_run.estimates.growth import ItemForecast
from django_confiture.dry_run.estimates.row_counts import Sizes
from django_confiture.dry_run.results import MigrationResult
from django_confiture.formatting import count
from django_confiture.postgres import major_version
from django_confiture.production import ProductionStats

NO_STATS = "no production sizes were given: these are the figures of this database"


def basis_of(part: ItemForecast, sizes: Sizes) -> tuple[str, ...]:
    """Return what a statement's forecast rests on."""
    return tuple(dict.fromkeys([*_servers(sizes), *_basis(part, sizes.stats)]))


def _servers(sizes: Sizes) -> Iterator[str]:
    if sizes.stats is None:
        yield NO_STATS
        return
    here, there = (
        major_version(version) for version in (sizes.server_version, sizes.stats.server_version)
    )
    if here != there:
        yield f"production runs PostgreSQL {there}, this is {here}"


def _basis(part: ItemForecast, stats: ProductionStats | None) -> Iterator[str]:
    for scale in part.scales:
        if stats is not None and scale.ratio is not None:
            yield (
                f"{scale.relation}: {scale.here:,} rows here, {scale.there:,} in production: "
                f"{times(scale.ratio)}"
            )
        elif stats is not None and not scale.here:
            yield f"{scale.relation}: no rows here to measure with"
        elif stats is not None:
            yield f"{scale.relation}: taken as large as it is here"
    if part.scales:
        sampled = part.item.sampled
        if sampled is None:
            yield "one size measured"
        else:
            few, many = sampled.rows
            yield f"three sizes measured: samples of {few:,} and {many:,} rows, and the whole"
        if not part.tried:
            yield f"forecasts of this kind ({part.item.work.kind}) have not been tried"
    yield from part.doubts


def basis_of_migration(
    result: MigrationResult, matter: Sequence[ItemForecast], sizes: Sizes
) -> tuple[str, ...]:
    """Return what a migration's forecast rests on: its long parts, and what was not measured."""
    found = [*_servers(sizes), *(line for part in matter for line in _basis(part, sizes.stats))]
    kinds = [operation.rehearsed for operation in result.operations]
    if substituted := kinds.count("substituted"):
        found.append(f"{count(substituted, 'operation')} measured in another form")
    if missing := kinds.count("not_rehearsed"):
        found.append(f"{count(missing, 'operation')} not rehearsed, and not in this time")
    return tuple(dict.fromkeys(found))


def times(ratio: float) -> str:
    """Return a ratio in words, such as "12 times as many"."""
    if ratio >= 10:
        return f"{ratio:.0f} times as many"
    if ratio >= 1.05:
        return f"{ratio:.1f} times as many"
    return "as many" if ratio >= 0.95 else f"{ratio:.2g} times as many"
