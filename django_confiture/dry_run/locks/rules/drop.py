"""Rules for DROP and TRUNCATE."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from postgast import pg_query_pb2 as pb

from django_confiture.dry_run.locks.catalog import Lookup, Root, quoted
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules.base import (
    Lock,
    locks,
    name_of,
    split_name,
    strings,
    type_text,
)

_AX = LockMode.AccessExclusiveLock

_Nodes = Sequence[pb.Node]
_FindRoots = Callable[[_Nodes, Lookup], list[Root]]


def _relations(objects: _Nodes, lookup: Lookup) -> list[Root]:
    names = [quoted(*strings(node.list.items)[-2:]) for node in objects]
    return [("pg_class", found.oid, 0) for found in lookup.relations(names).values()]


def _types(objects: _Nodes, lookup: Lookup) -> list[Root]:
    return lookup.named("pg_type", [type_text(node.type_name) for node in objects])


def _schemas(objects: _Nodes, lookup: Lookup) -> list[Root]:
    return lookup.named("pg_namespace", strings(objects))


def _extensions(objects: _Nodes, lookup: Lookup) -> list[Root]:
    return lookup.named("pg_extension", strings(objects))


def _statistics(objects: _Nodes, lookup: Lookup) -> list[Root]:
    return [root for node in objects for root in lookup.statistics(*split_name(node.list.items))]


def _routines(objects: _Nodes, lookup: Lookup) -> list[Root]:
    roots: list[Root] = []
    for routine in (node.object_with_args for node in objects):
        args = [type_text(node.type_name) for node in routine.objargs]
        schema, name = split_name(routine.objname)
        roots += lookup.routines(schema, name, None if routine.args_unspecified else args)
    return roots


def _on_table(catalog: str) -> _FindRoots:
    def find_roots(objects: _Nodes, lookup: Lookup) -> list[Root]:
        roots: list[Root] = []
        for node in objects:
            *table, name = strings(node.list.items)
            found = lookup.relation(quoted(*table[-2:]))
            roots += lookup.on_table(catalog, found.oid, name) if found else []
        return roots

    return find_roots


_ROOTS: Mapping[int, _FindRoots] = {
    **dict.fromkeys(
        (
            pb.OBJECT_TABLE,
            pb.OBJECT_FOREIGN_TABLE,
            pb.OBJECT_VIEW,
            pb.OBJECT_MATVIEW,
            pb.OBJECT_SEQUENCE,
            pb.OBJECT_INDEX,
        ),
        _relations,
    ),
    pb.OBJECT_TYPE: _types,
    pb.OBJECT_DOMAIN: _types,
    pb.OBJECT_SCHEMA: _schemas,
    pb.OBJECT_EXTENSION: _extensions,
    pb.OBJECT_STATISTIC_EXT: _statistics,
    pb.OBJECT_FUNCTION: _routines,
    pb.OBJECT_AGGREGATE: _routines,
    pb.OBJECT_ROUTINE: _routines,
    pb.OBJECT_TRIGGER: _on_table("pg_trigger"),
    pb.OBJECT_RULE: _on_table("pg_rewrite"),
    pb.OBJECT_POLICY: _on_table("pg_policy"),
}


def drop(statement: pb.DropStmt, lookup: Lookup) -> Iterator[Lock]:
    """DROP of anything, with what goes along by dependency.

    RESTRICT is treated as CASCADE: it succeeds only where there is no difference.
    """
    if statement.concurrent:
        names = [quoted(*strings(node.list.items)[-2:]) for node in statement.objects]
        tables = (found.table for found in lookup.relations(names).values())
        yield from locks(tables, LockMode.ShareUpdateExclusiveLock)
    elif statement.remove_type in _ROOTS:
        yield from dropped(_ROOTS[statement.remove_type](statement.objects, lookup), lookup)


def dropped(roots: Sequence[Root], lookup: Lookup) -> Iterator[Lock]:
    """Yield the locks for dropping `roots` with all that depends on them."""
    whole, statistics = lookup.dropped(roots)
    yield from locks(whole, _AX)
    yield from locks(statistics, LockMode.ShareUpdateExclusiveLock)


def drop_owned(statement: pb.DropOwnedStmt, lookup: Lookup) -> Iterator[Lock]:
    """DROP OWNED BY; the privileges that it revokes lock nothing that lasts."""
    yield from dropped(lookup.owned_by(_roles(statement.roles)), lookup)


def reassign_owned(statement: pb.ReassignOwnedStmt, lookup: Lookup) -> Iterator[Lock]:
    """REASSIGN OWNED BY: every relation that the roles own."""
    roots = lookup.owned_by(_roles(statement.roles))
    owned = {oid for catalog, oid, _ in roots if catalog == "pg_class"}
    yield from locks(lookup.lockable(owned), _AX)


def _roles(nodes: _Nodes) -> list[str | None]:
    """Return role names; None for CURRENT_USER and its like."""
    return [node.role_spec.rolename or None for node in nodes]


def truncate(statement: pb.TruncateStmt, lookup: Lookup) -> Iterator[Lock]:
    """TRUNCATE, with children, and with CASCADE all tables that refer to one of these."""
    variables = [node.range_var for node in statement.relations]
    relations = lookup.relations(map(name_of, variables))
    oids = {found.oid for found in relations.values()}
    whole = [name_of(variable) for variable in variables if variable.inh]
    oids |= lookup.descendants({relations[name].oid for name in whole if name in relations})
    if statement.behavior == pb.DROP_CASCADE:
        waiting = set(oids)
        while waiting:
            keys = lookup.foreign_keys(waiting)
            waiting = {key.table for key in keys if key.referenced in oids} - oids
            oids |= waiting
    if statement.restart_seqs and oids:
        oids |= set(lookup.owned_sequences(oids))
    yield from locks(oids, _AX)
