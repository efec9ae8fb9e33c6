"""What the modules with the rules share."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from postgast import pg_query_pb2 as pb

from django_confiture.dry_run.locks.catalog import Lookup, Relation, quoted
from django_confiture.dry_run.locks.modes import LockMode


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


def name_of(range_var: pb.RangeVar) -> str:
    """Return the name as SQL text; the database's name in front, if any, can only be our own."""
    return quoted(range_var.schemaname, range_var.relname)


def find(range_var: pb.RangeVar, lookup: Lookup) -> Relation | None:
    """Resolve the relation, or return None where it does not exist (yet)."""
    return lookup.relation(name_of(range_var))


def strings(nodes: Iterable[pb.Node]) -> list[str]:
    """Return the texts of string nodes, such as the parts of a qualified name."""
    return [node.string.sval for node in nodes]


def split_name(nodes: Iterable[pb.Node]) -> tuple[str | None, str]:
    """Return (schema or None, name) of a qualified name."""
    *schema, name = strings(nodes)
    return (schema[-1] if schema else None), name


def type_text(type_name: pb.TypeName) -> str:
    """Return a type's name as SQL text for ``to_regtype``, without its modifier."""
    return quoted(*strings(type_name.names)) + "[]" * len(type_name.array_bounds)


def option_is_on(options: Iterable[pb.Node], name: str) -> bool:
    """Tell whether a parenthesized option such as ``(FULL)`` or ``(FULL off)`` is on."""
    for option in (node.def_elem for node in options):
        if option.defname == name:
            kind = option.arg.WhichOneof("node")
            if kind == "string":
                return option.arg.string.sval not in {"false", "off"}
            return kind is None or option.arg.integer.ival != 0
    return False


def strongest(found: Iterable[Lock]) -> Mapping[int, LockMode]:
    """Return the strongest mode for each relation."""
    modes: dict[int, LockMode] = {}
    for lock in found:
        modes[lock.oid] = max(lock.mode, modes.get(lock.oid, lock.mode))
    return modes


#: Any: each rule takes the message of its own kind, as generated from PostgreSQL's node types.
Statement = Any
