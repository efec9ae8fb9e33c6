"""What one statement did: the difference between two probes, and the statement's own text.

The text is needed where the probes are blind: a lock that an earlier migration of the same
transaction holds already is granted without a trace. So the locks are the measured ones joined
with those that the statement takes by PostgreSQL's rules; where the two disagree, the measured
ones win.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.measuring.counters import Counters
from django_confiture.dry_run.measuring.index_scans import read_through_indexes
from django_confiture.dry_run.measuring.relations import (
    Catalog,
    Observed,
    Probe,
    Relation,
)
from django_confiture.dry_run.results import Scan, TableLock, Write
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement

_HEAPS = {"r", "m", "p", "t"}


@dataclass(frozen=True)
class Effects:
    """What one statement, or the rest of an operation, did to relations of the snapshot."""

    locks: tuple[tuple[int, str, bool], ...] = ()
    """(OID, mode, inherited)."""
    rewrites: tuple[int, ...] = ()
    truncated: tuple[int, ...] = ()
    scans: tuple[tuple[int, int | None, float], ...] = ()
    """(OID, rows, passes): none where an open cursor has read on."""
    writes: tuple[tuple[int, Counters], ...] = ()
    indexes_built: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    wal_bytes: int | None = None

    @property
    def matters(self) -> bool:
        """Whether it took a lock, read or wrote rows: more than to look at a table's definition."""
        locked = any(
            LockMode[mode] >= LockMode.RowShareLock for _oid, mode, _inherited in self.locks
        )
        done = (self.rewrites, self.truncated, self.scans, self.writes, self.indexes_built)
        return locked or any(done) or bool(self.constraints)

    def table_locks(self, catalog: Catalog) -> tuple[TableLock, ...]:
        """Return the locks with names instead of OIDs."""
        return tuple(
            TableLock(catalog.relations[oid].shown, mode, inherited)
            for oid, mode, inherited in self.locks
        )


@dataclass(frozen=True)
class _Builds:
    """The indexes of one table that a statement built."""

    indexes: int
    own_dead: int
    """Rows that each build reads, although the dry run wrote and undid them for itself."""


def total_scans(several: Iterable[Effects], catalog: Catalog) -> tuple[Scan, ...]:
    """Return the scans of a statement that ran several times, one for each relation."""
    found: dict[int, tuple[int | None, float]] = {}
    for oid, rows, passes in (scan for each in several for scan in each.scans):
        before, times = found.get(oid, (0, 0))
        total = None if rows is None or before is None else before + rows
        found[oid] = (total, times + passes)
    scans = (
        Scan(catalog.relations[oid].shown, rows, max(1, round(passes)))
        for oid, (rows, passes) in found.items()
    )
    return tuple(sorted(scans, key=lambda scan: scan.relation))


def total_writes(several: Iterable[Effects], catalog: Catalog) -> tuple[Write, ...]:
    """Return what a statement that ran several times wrote, one for each relation."""
    found: dict[int, list[int]] = {}
    for oid, wrote in (write for each in several for write in each.writes):
        total = found.setdefault(oid, [0, 0, 0])
        for index, count in enumerate((wrote.inserted, wrote.updated, wrote.deleted)):
            total[index] += count
    writes = (Write(catalog.relations[oid].shown, *counts) for oid, counts in found.items())
    return tuple(sorted(writes, key=lambda write: write.relation))


def merge(before: Probe, after: Probe) -> Probe:
    """Return ``after`` completed with what was known of relations that it did not look at."""
    known = dict(before.relations)
    for oid, seen in after.relations.items():
        old = known.get(oid)
        if old is not None and seen.indexes is None:
            seen = replace(seen, indexes=old.indexes, constraints=old.constraints)
        known[oid] = seen
    for oid in known.keys() - after.relations.keys():
        if known[oid].modes:
            known[oid] = replace(known[oid], modes=frozenset())
    return Probe(after.wal, known, after.activity)


def effects(
    catalog: Catalog,
    before: Probe,
    after: Probe,
    statement: Statement | None = None,
    predicted: Iterable[tuple[int, str]] = (),
    runs: int = 1,
) -> Effects:
    """Return what happened between two merged probes, in so many runs of statements."""
    pairs = _changed(before, after)
    new_files = {oid for oid, (old, new) in pairs.items() if _has_new_file(catalog, oid, old, new)}
    rewrites = {oid for oid in new_files if _rewritten(*pairs[oid], statement)}
    truncated = new_files - rewrites  # empty tables and their empty indexes: nothing read or built
    built = {o: _built(old, new) for o, (old, new) in pairs.items() if o not in truncated}
    return Effects(
        locks=tuple(_locks(pairs, before, predicted, catalog)),
        rewrites=tuple(oid for oid in pairs if oid in rewrites),
        truncated=tuple(oid for oid in pairs if oid in truncated),
        scans=tuple(
            (oid, *scan)
            for oid, (old, new) in pairs.items()
            if oid in built and catalog.relations[oid].kind in _HEAPS
            for scan in _scans(
                catalog.relations[oid],
                old,
                new,
                runs,
                _Builds(len(built[oid]), catalog.own_dead[oid, new.filenode]),
            )
        ),
        writes=tuple(
            (oid, wrote)
            for oid, (old, new) in pairs.items()
            if (wrote := new.counters.since(old.counters)).inserted + wrote.updated + wrote.deleted
        ),
        indexes_built=tuple(sorted(name for names in built.values() for name in names)),
        constraints=tuple(
            sorted(name for old, new in pairs.values() for name in _validated(old, new))
        ),
        wal_bytes=after.wal - before.wal,
    )


def counted_in_vain(catalog: Catalog, before: Probe, after: Probe, runs: int = 1) -> Effects:
    """Return what a statement read and wrote that is undone by now; its files and locks are gone.

    Whether it was building an index is not to be seen any more, which reads rows that the dry run
    wrote and undid for itself: no more than there are rows is believed.
    """
    found = effects(catalog, before, after, runs=runs)
    scans = []
    for oid, rows, passes in found.scans:
        if rows is not None and (known := catalog.relations[oid].rows * passes) >= 0:
            own = catalog.own_dead[oid, after.relations[oid].filenode] * passes
            rows = int(min(rows, max(rows - own, known)))
        scans.append((oid, rows, passes))
    return replace(found, scans=tuple(scans))


def _changed(before: Probe, after: Probe) -> dict[int, tuple[Observed, Observed]]:
    """Return what differs. What was not looked at, nearly all of a large schema, is identical."""
    known = before.relations
    return {
        oid: (known[oid], seen)
        for oid, seen in after.relations.items()
        if known[oid] is not seen and known[oid] != seen
    }


def _locks(
    pairs: Mapping[int, tuple[Observed, Observed]],
    before: Probe,
    predicted: Iterable[tuple[int, str]],
    catalog: Catalog,
) -> Iterable[tuple[int, str, bool]]:
    granted = {(oid, mode) for oid, (old, new) in pairs.items() for mode in new.modes - old.modes}
    yield from ((oid, mode, False) for oid, mode in sorted(granted))
    for oid, mode in sorted(set(predicted) - granted):
        held = before.relations[oid].modes if oid in catalog.relations else frozenset()
        if mode in held:
            yield oid, mode, True


def _has_new_file(catalog: Catalog, oid: int, old: Observed, new: Observed) -> bool:
    return catalog.relations[oid].kind in _HEAPS and new.filenode not in (None, old.filenode)


def _rewritten(old: Observed, new: Observed, statement: Statement | None) -> bool:
    """Return whether a table that has a new file was rewritten, not emptied."""
    if statement is None or statement.kind is Kind.OPAQUE:
        return new.counters.returned > old.counters.returned  # TRUNCATE reads nothing
    return statement.what != "truncate_stmt"


def _built(old: Observed, new: Observed) -> set[str]:
    """Return the indexes that got a new file: created, rebuilt, or emptied with their table."""
    if new.indexes is None or new.filenode is None:
        return set()
    before = set((old.indexes or {}).values())
    return {name for name, node in new.indexes.items() if node and node not in before}


def _validated(old: Observed, new: Observed) -> Iterable[str]:
    """Yield the constraints that are valid now and were not, or were not there."""
    before = old.constraints or {}
    for name, valid in (new.constraints or {}).items():
        if valid and not before.get(name):
            yield name


def _scans(
    relation: Relation, old: Observed, new: Observed, runs: int, builds: _Builds
) -> Iterator[tuple[int | None, float]]:
    """Yield (rows, passes) of the full scans of a table, and of what comes to the same."""
    if passes := new.counters.scans - old.counters.scans:
        yield _rows_scanned(relation, old, new, passes, builds), passes
    elif read_on := new.counters.returned - old.counters.returned:
        yield read_on, 0
    if through_indexes := read_through_indexes(relation, old, new, runs):
        yield through_indexes


def _rows_scanned(
    relation: Relation, old: Observed, new: Observed, passes: int, builds: _Builds
) -> int | None:
    """Return the rows read by full scans.

    Parallel workers of an index build report no rows; the build reads the whole table,
    so the last ANALYZE says how many there are, and without one the figure is unknown.
    """
    rows = new.counters.returned - old.counters.returned
    if not builds.indexes:
        return rows
    if relation.rows < 0:
        return None
    own = builds.own_dead * min(builds.indexes, passes)
    return max(rows - own, relation.rows * passes)
