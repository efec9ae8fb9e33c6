"""Rules for DROP and TRUNCATE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from django_confiture.dry_run.locks.catalog import Lookup, Root
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules.base import Lock, locks
from django_confiture.dry_run.sql.parsing.enums import DropBehavior, ObjectType
from django_confiture.dry_run.sql.parsing.identifiers import qualified_name
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    quoted_relation,
    quoted_type,
    schema_and_name,
    strings,
)

_AX = LockMode.AccessExclusiveLock

_Nodes = Sequence[Node]
_FindRoots = Callable[[_Nodes, Lookup], list[Root]]


def _relations(objects: _Nodes, lookup: Lookup) -> list[Root]:
    names = [qualified_name(*strings(node.list.items)[-2:]) for node in objects]
    return [("pg_class", found.oid, 0) for found in lookup.relations(names).values()]


def _types(objects: _Nodes, lookup: Lookup) -> list[Root]:
    return lookup.named("pg_type", [quoted_type(node.type_name) for node in objects])


def _schemas(objects: _Nodes, lookup: Lookup) -> list[Root]:
    return lookup.named("pg_namespace", strings(objects))


def _extensions(objects: _Nodes, lookup: Lookup) -> list[Root]:
    return lookup.named("pg_extension", strings(objects))


def _statistics(objects: _Nodes, lookup: Lookup) -> list[Root]:
    return [
        root for node in objects for root in lookup.statistics(*schema_and_name(node.list.items))
    ]


def _routines(objects: _Nodes, lookup: Lookup) -> list[Root]:
    roots: list[Root] = []
    for routine in (node.object_with_args for node in objects):
        args = [quoted_type(node.type_name) for node in routine.objargs]
        schema, name = schema_and_name(routine.objname)
        roots += lookup.routines(schema, name, None if routine.args_unspecified else args)
    return roots


def _on_table(catalog: str, objects: _Nodes, lookup: Lookup) -> list[Root]:
    roots: list[Root] = []
    for node in objects:
        *table, name = strings(node.list.items)
        found = lookup.relation(qualified_name(*table[-2:]))
        roots += lookup.on_table(catalog, found.oid, name) if found else []
    return roots


_ROOTS: Mapping[int, _FindRoots] = {
    **dict.fromkeys(
        (
            ObjectType.TABLE,
            ObjectType.FOREIGN_TABLE,
            ObjectType.VIEW,
            ObjectType.MATVIEW,
            ObjectType.SEQUENCE,
            ObjectType.INDEX,
        ),
        _relations,
    ),
    ObjectType.TYPE: _types,
    ObjectType.DOMAIN: _types,
    ObjectType.SCHEMA: _schemas,
    ObjectType.EXTENSION: _extensions,
    ObjectType.STATISTIC_EXT: _statistics,
    ObjectType.FUNCTION: _routines,
    ObjectType.AGGREGATE: _routines,
    ObjectType.ROUTINE: _routines,
    ObjectType.TRIGGER: partial(_on_table, "pg_trigger"),
    ObjectType.RULE: partial(_on_table, "pg_rewrite"),
    ObjectType.POLICY: partial(_on_table, "pg_policy"),
}


def drop(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """DROP of anything, with what goes along by dependency.

    RESTRICT is treated as CASCADE: it succeeds only where there is no difference.
    """
    if statement.concurrent:
        names = [qualified_name(*strings(node.list.items)[-2:]) for node in statement.objects]
        tables = (found.table for found in lookup.relations(names).values())
        yield from locks(tables, LockMode.ShareUpdateExclusiveLock)
    elif statement.remove_type in _ROOTS:
        yield from dropped(_ROOTS[statement.remove_type](statement.objects, lookup), lookup)


def dropped(roots: Sequence[Root], lookup: Lookup) -> Iterator[Lock]:
    """Yield the locks for dropping ``roots`` with all that depends on them."""
    whole, statistics = lookup.dropped(roots)
    yield from locks(whole, _AX)
    yield from locks(statistics, LockMode.ShareUpdateExclusiveLock)


def drop_owned(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """DROP OWNED BY; the privileges that it revokes lock nothing that lasts."""
    yield from dropped(lookup.owned_by(_roles(statement.roles)), lookup)


def reassign_owned(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """REASSIGN OWNED BY: every relation that the roles own."""
    roots = lookup.owned_by(_roles(statement.roles))
    owned = {oid for catalog, oid, _ in roots if catalog == "pg_class"}
    yield from locks(lookup.lockable(owned), _AX)


def _roles(nodes: _Nodes) -> list[str | None]:
    """Return role names; None for CURRENT_USER and its like."""
    return [node.role_spec.rolename or None for node in nodes]


def truncate(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """TRUNCATE, with children, and with CASCADE all tables that refer to one of these."""
    variables = [node.range_var for node in statement.relations]
    relations = lookup.relations(map(quoted_relation, variables))
    oids = {found.oid for found in relations.values()}
    whole = [quoted_relation(variable) for variable in variables if variable.inh]
    oids |= lookup.descendants({relations[name].oid for name in whole if name in relations})
    if statement.behavior == DropBehavior.CASCADE:
        waiting = set(oids)
        while waiting:
            keys = lookup.foreign_keys(waiting)
            waiting = {key.table for key in keys if key.referenced in oids} - oids
            oids |= waiting
    if statement.restart_seqs and oids:
        oids |= set(lookup.owned_sequences(oids))
    yield from locks(oids, _AX)
