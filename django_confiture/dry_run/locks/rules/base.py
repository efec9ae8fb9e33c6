"""What the modules with the rules share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from django_confiture.dry_run.locks.catalog import Lookup, NamedRelation
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.sql.parsing.nodes import Node, quoted_relation


@dataclasses.dataclass(frozen=True, slots=True)
class Lock:
    """A lock that a statement takes on a relation that exists before it is run."""

    oid: int
    """``pg_class.oid`` of a table, partition, view, materialized view or sequence."""
    mode: LockMode


def locks(oids: Iterable[int], mode: LockMode) -> Iterator[Lock]:
    """Yield the same mode for each relation."""
    for oid in oids:
        yield Lock(oid, mode)


def resolve(range_var: Node, lookup: Lookup) -> NamedRelation | None:
    """Return the relation that is named, None where it does not exist (yet)."""
    return lookup.relation(quoted_relation(range_var))


def strongest(found: Iterable[Lock]) -> Mapping[int, LockMode]:
    """Return the strongest mode for each relation."""
    modes: dict[int, LockMode] = {}
    for lock in found:
        modes[lock.oid] = max(lock.mode, modes.get(lock.oid, lock.mode))
    return modes
