"""Rules for renames, moves, comments, privileges, domains and publications."""

from __future__ import annotations

from collections.abc import Iterator

from django_confiture.dry_run.locks.catalog import Lookup, NamedRelation
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules.base import Lock, locks, resolve
from django_confiture.dry_run.sql.parsing.enums import (
    AlterPublicationAction,
    GrantTargetType,
    ObjectType,
)
from django_confiture.dry_run.sql.parsing.identifiers import qualified_name
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    definition,
    node_tag,
    quoted_relation,
    strings,
)
from django_confiture.postgres import POSTGRESQL_18

_SUE = LockMode.ShareUpdateExclusiveLock
_AX = LockMode.AccessExclusiveLock

_RELATIONS = frozenset(
    {
        ObjectType.TABLE,
        ObjectType.FOREIGN_TABLE,
        ObjectType.VIEW,
        ObjectType.MATVIEW,
        ObjectType.SEQUENCE,
    }
)
_ON_TABLE = frozenset(
    {ObjectType.TABCONSTRAINT, ObjectType.TRIGGER, ObjectType.RULE, ObjectType.POLICY}
)


def rename(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """ALTER … RENAME of a relation, or of something that is part of one.

    What is named decides, not the keyword: ALTER TABLE also renames an index, which locks the index
    alone, and ALTER INDEX a table.
    """
    if not statement.HasField("relation"):
        return
    relation = resolve(statement.relation, lookup)
    if relation is None or relation.is_index:
        return
    if relation.kind == "c":
        yield from locks(lookup.typed_tables(relation.oid), _AX)
        return
    yield Lock(relation.oid, _AX)
    if statement.relation.inh and _renames_in_children(statement, relation, lookup):
        yield from locks(lookup.family_of(relation), _AX)


def _renames_in_children(statement: Node, relation: NamedRelation, lookup: Lookup) -> bool:
    match statement.rename_type:
        case ObjectType.COLUMN:
            return True
        case ObjectType.TRIGGER:
            return relation.is_partitioned
        case ObjectType.TABCONSTRAINT:
            found = lookup.constraints([relation.oid], statement.subname)
            return any(item.kind in "cn" and item.inheritable for item in found)
        case _:
            return False


def set_schema(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """ALTER … SET SCHEMA: a relation with its own sequences; other objects lock no table."""
    if not statement.HasField("relation"):
        return
    relation = resolve(statement.relation, lookup)
    if relation is not None and not relation.is_index:
        yield from locks([relation.oid, *lookup.owned_sequences([relation.oid])], _AX)


def comment(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """COMMENT, SECURITY LABEL."""
    parts = strings(statement.object.list.items)
    if statement.objtype in _RELATIONS:
        mode = _SUE
    elif statement.objtype == ObjectType.COLUMN:
        parts, mode = parts[:-1], _SUE
    elif statement.objtype in _ON_TABLE:
        parts, mode = parts[:-1], LockMode.AccessShareLock
    else:
        return
    relation = lookup.relation(qualified_name(*parts[-2:]))
    if relation is not None and relation.kind != "c":
        yield Lock(relation.oid, mode)


def grant(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """GRANT and REVOKE on named relations; before 18 they lock the catalog's row alone."""
    on_objects = statement.targtype == GrantTargetType.OBJECT
    if on_objects and statement.objtype in _RELATIONS and lookup.server_version >= POSTGRESQL_18:
        relations = lookup.relations(quoted_relation(node.range_var) for node in statement.objects)
        yield from locks((found.oid for found in relations.values()), LockMode.AccessShareLock)


def alter_domain(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """ALTER DOMAIN: what checks the values that are there reads every table that uses it."""
    checks = {
        "C": not definition(statement).constraint.skip_validation,  # ADD CONSTRAINT
        "V": True,  # VALIDATE CONSTRAINT
        "O": True,  # SET NOT NULL
    }
    if checks.get(statement.subtype):
        name = qualified_name(*strings(statement.type_name))
        yield from locks(lookup.tables_of_domain(name), LockMode.ShareLock)


def publication(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE PUBLICATION, ALTER PUBLICATION: the named tables, with children, not partitions."""
    replaces = node_tag(statement) == "AlterPublicationStmt" and (
        statement.action == AlterPublicationAction.SetObjects
    )
    if replaces:
        yield from locks(lookup.published(statement.pubname), _SUE)
    specs = [node.publication_obj_spec for node in statement.pubobjects]
    variables = [spec.pubtable.relation for spec in specs if spec.HasField("pubtable")]
    relations = lookup.relations(map(quoted_relation, variables))
    for variable in variables:
        relation = relations.get(quoted_relation(variable))
        if relation is not None:
            recurses = variable.inh and not relation.is_partitioned
            yield from locks(lookup.family_of(relation) if recurses else [relation.oid], _SUE)
