"""Rules for renames, moves, comments, privileges, domains and publications."""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from django_confiture.dry_run.locks.catalog import Lookup, Relation, quoted
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules.base import Lock, find, locks, name_of, strings

_SUE = LockMode.ShareUpdateExclusiveLock
_AX = LockMode.AccessExclusiveLock
_VERSION_18 = 180000

_RELATIONS = frozenset(
    {
        pb.OBJECT_TABLE,
        pb.OBJECT_FOREIGN_TABLE,
        pb.OBJECT_VIEW,
        pb.OBJECT_MATVIEW,
        pb.OBJECT_SEQUENCE,
    }
)
_ON_TABLE = frozenset(
    {pb.OBJECT_TABCONSTRAINT, pb.OBJECT_TRIGGER, pb.OBJECT_RULE, pb.OBJECT_POLICY}
)


def rename(statement: pb.RenameStmt, lookup: Lookup) -> Iterator[Lock]:
    """ALTER … RENAME of a relation, or of something that is part of one.

    What is named decides, not the keyword: ALTER TABLE also renames an index, which locks the index
    alone, and ALTER INDEX a table.
    """
    if not statement.HasField("relation"):
        return
    relation = find(statement.relation, lookup)
    if relation is None or relation.is_index:
        return
    if relation.kind == "c":
        yield from locks(lookup.typed_tables(relation.oid), _AX)
        return
    yield Lock(relation.oid, _AX)
    if statement.relation.inh and _renames_in_children(statement, relation, lookup):
        yield from locks(lookup.family_of(relation), _AX)


def _renames_in_children(statement: pb.RenameStmt, relation: Relation, lookup: Lookup) -> bool:
    match statement.rename_type:
        case pb.OBJECT_COLUMN:
            return True
        case pb.OBJECT_TRIGGER:
            return relation.is_partitioned
        case pb.OBJECT_TABCONSTRAINT:
            found = lookup.constraints([relation.oid], statement.subname)
            return any(item.kind in "cn" and item.inheritable for item in found)
        case _:
            return False


def set_schema(statement: pb.AlterObjectSchemaStmt, lookup: Lookup) -> Iterator[Lock]:
    """ALTER … SET SCHEMA: a relation with its own sequences; other objects lock no table."""
    if not statement.HasField("relation"):
        return
    relation = find(statement.relation, lookup)
    if relation is not None and not relation.is_index:
        yield from locks([relation.oid, *lookup.owned_sequences([relation.oid])], _AX)


def comment(statement: pb.CommentStmt | pb.SecLabelStmt, lookup: Lookup) -> Iterator[Lock]:
    """COMMENT, SECURITY LABEL."""
    parts = strings(statement.object.list.items)
    if statement.objtype in _RELATIONS:
        mode = _SUE
    elif statement.objtype == pb.OBJECT_COLUMN:
        parts, mode = parts[:-1], _SUE
    elif statement.objtype in _ON_TABLE:
        parts, mode = parts[:-1], LockMode.AccessShareLock
    else:
        return
    relation = lookup.relation(quoted(*parts[-2:]))
    if relation is not None and relation.kind != "c":
        yield Lock(relation.oid, mode)


def grant(statement: pb.GrantStmt, lookup: Lookup) -> Iterator[Lock]:
    """GRANT and REVOKE on named relations; before 18 they lock the catalog's row alone."""
    on_objects = statement.targtype == pb.ACL_TARGET_OBJECT
    if on_objects and statement.objtype in _RELATIONS and lookup.server_version >= _VERSION_18:
        relations = lookup.relations(name_of(node.range_var) for node in statement.objects)
        yield from locks((found.oid for found in relations.values()), LockMode.AccessShareLock)


def alter_domain(statement: pb.AlterDomainStmt, lookup: Lookup) -> Iterator[Lock]:
    """ALTER DOMAIN: what checks the values that are there reads every table that uses it."""
    checks = {
        "C": not getattr(statement, "def").constraint.skip_validation,  # ADD CONSTRAINT
        "V": True,  # VALIDATE CONSTRAINT
        "O": True,  # SET NOT NULL
    }
    if checks.get(statement.subtype, False):
        name = quoted(*strings(statement.type_name))
        yield from locks(lookup.tables_of_domain(name), LockMode.ShareLock)


def publication(
    statement: pb.CreatePublicationStmt | pb.AlterPublicationStmt, lookup: Lookup
) -> Iterator[Lock]:
    """CREATE PUBLICATION, ALTER PUBLICATION: the named tables, with children, not partitions."""
    replaces = isinstance(statement, pb.AlterPublicationStmt) and (
        statement.action == pb.AP_SetObjects
    )
    if replaces:
        yield from locks(lookup.published(statement.pubname), _SUE)
    specs = [node.publication_obj_spec for node in statement.pubobjects]
    variables = [spec.pubtable.relation for spec in specs if spec.HasField("pubtable")]
    relations = lookup.relations(map(name_of, variables))
    for variable in variables:
        relation = relations.get(name_of(variable))
        if relation is not None:
            recurses = variable.inh and not relation.is_partitioned
            yield from locks(lookup.family_of(relation) if recurses else [relation.oid], _SUE)
