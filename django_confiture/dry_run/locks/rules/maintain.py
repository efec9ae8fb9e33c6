"""Rules for maintenance: VACUUM, ANALYZE, CLUSTER, REINDEX, REFRESH, and LOCK TABLE."""

from __future__ import annotations

from collections.abc import Iterator

from django_confiture.dry_run.locks.catalog import Lookup
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules.base import Lock, locks, resolve
from django_confiture.dry_run.sql.parsing.enums import ReindexObjectType
from django_confiture.dry_run.sql.parsing.nodes import Node, option_is_on, quoted_relation
from django_confiture.postgres import POSTGRESQL_18

_SUE = LockMode.ShareUpdateExclusiveLock
_AX = LockMode.AccessExclusiveLock


def vacuum(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """VACUUM [FULL], ANALYZE; without a table's name, all tables."""
    mode = _AX if option_is_on(statement.options, "full") else _SUE
    if not statement.rels:
        yield from locks(lookup.maintained("all"), mode)
        return
    variables = [node.vacuum_relation.relation for node in statement.rels]
    relations = lookup.relations(map(quoted_relation, variables))
    for variable in variables:
        relation = relations.get(quoted_relation(variable))
        if relation is None:
            continue
        yield Lock(relation.oid, mode)
        if variable.inh or lookup.server_version < POSTGRESQL_18:
            # ONLY is new in 18, and so is going to inheritance children, which an ANALYZE of the
            # parent used to read alone.
            whole = relation.is_partitioned or lookup.server_version >= POSTGRESQL_18
            below = lookup.family_of(relation) - {relation.oid}
            yield from locks(below, mode if whole else LockMode.AccessShareLock)


def cluster(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CLUSTER; without a table's name, all tables that have been clustered before."""
    if not statement.HasField("relation"):
        yield from locks(lookup.maintained("clustered"), _AX)
        return
    relation = resolve(statement.relation, lookup)
    if relation is not None:
        yield from locks(
            lookup.family_of(relation) if relation.is_partitioned else [relation.oid], _AX
        )


def reindex(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """REINDEX [CONCURRENTLY] of an index, table, schema or database."""
    concurrently = option_is_on(statement.params, "concurrently")
    mode = _SUE if concurrently else LockMode.ShareLock
    match statement.kind:
        case ReindexObjectType.INDEX | ReindexObjectType.TABLE:
            relation = resolve(statement.relation, lookup)
            if relation is not None:
                recurses = relation.kind in "pI"
                table = relation.table
                yield from locks(lookup.family([table]) if recurses else [table], mode)
        case ReindexObjectType.SCHEMA:
            yield from locks(lookup.maintained(f"schema {statement.name}"), mode)
        case ReindexObjectType.DATABASE:
            yield from locks(lookup.maintained("all"), mode)


def refresh(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """REFRESH MATERIALIZED VIEW [CONCURRENTLY]."""
    view = resolve(statement.relation, lookup)
    if view is None:
        return
    yield Lock(view.oid, LockMode.ExclusiveLock if statement.concurrent else _AX)
    if not statement.skip_data:
        below = lookup.reads([view], refresh=True)[view.oid]
        yield from locks((read.oid for read in below), LockMode.AccessShareLock)


def lock(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """LOCK TABLE: children, and what a view reads (no materialized view), get the same mode."""
    mode = LockMode(statement.mode)
    variables = [node.range_var for node in statement.relations]
    relations = lookup.relations(map(quoted_relation, variables))
    reads = lookup.reads(relations.values())
    for variable in variables:
        relation = relations.get(quoted_relation(variable))
        if relation is not None:
            yield Lock(relation.oid, mode)
            if variable.inh or relation.kind == "v":
                below = (read.oid for read in reads[relation.oid] if read.kind != "m")
                yield from locks(below, mode)
