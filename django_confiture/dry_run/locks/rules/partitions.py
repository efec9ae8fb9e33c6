"""What adding and removing a partition locks in addition to the partitioned table."""

from __future__ import annotations

from collections.abc import Iterator, Set

from django_confiture.dry_run.locks.catalog import Lookup, NamedRelation
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules.base import Lock, locks

_SRX = LockMode.ShareRowExclusiveLock
_AX = LockMode.AccessExclusiveLock


def neighbors(parent: int, lookup: Lookup) -> Iterator[Lock]:
    """Yield the default partition, which is scanned, and the other sides of foreign keys.

    The parent's keys, and those to it, become the new partition's too.
    """
    yield from locks(lookup.family(lookup.default_partitions([parent])), _AX)
    referring, referenced = _other_sides({parent}, lookup)
    yield from locks(referring | referenced, _SRX)


def _other_sides(tables: Set[int], lookup: Lookup) -> tuple[set[int], set[int]]:
    """Return the tables that refer to the given ones, without partitions, and those referred to."""
    keys = lookup.foreign_keys(tables)
    referring = {key.table for key in keys if key.referenced in tables} - tables
    referenced = {key.referenced for key in keys if key.table in tables} - tables
    return referring - lookup.descendants(referring), referenced


def attached(parent: int, partition: NamedRelation, lookup: Lookup) -> Iterator[Lock]:
    """Yield what ATTACH PARTITION locks in addition to the parent."""
    yield from locks(lookup.family_of(partition), _AX)
    yield from neighbors(parent, lookup)


def detached(parent: int, partition: NamedRelation, lookup: Lookup) -> Iterator[Lock]:
    """Yield what DETACH PARTITION locks in addition to the parent.

    Foreign keys of the partition are created again; those to it are dropped.
    """
    family = lookup.family_of(partition)
    yield from locks(family, _AX)
    yield from locks(lookup.default_partitions([parent]), _AX)
    referring, referenced = _other_sides(family, lookup)
    yield from locks(referring, _AX)
    yield from locks(lookup.family(referenced), _SRX)
