"""Rules for CREATE, of tables and of what lives on them."""

from __future__ import annotations

from collections.abc import Iterator

from django_confiture.dry_run.locks.catalog import Lookup
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules.alter import (
    column_references,
    references,
)
from django_confiture.dry_run.locks.rules.base import Lock, locks, resolve
from django_confiture.dry_run.locks.rules.partitions import neighbors
from django_confiture.dry_run.locks.rules.queries import named, planned
from django_confiture.dry_run.sql.parsing.enums import ConstrType
from django_confiture.dry_run.sql.parsing.identifiers import qualified_name
from django_confiture.dry_run.sql.parsing.nodes import Node, node_tag, quoted_relation, strings

_SUE = LockMode.ShareUpdateExclusiveLock
_AX = LockMode.AccessExclusiveLock


def create_table(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE TABLE: what it refers to, inherits from, is a partition of, or is LIKE."""
    if statement.if_not_exists and resolve(statement.relation, lookup) is not None:
        return
    for node in (*statement.table_elts, *statement.constraints):
        yield from _table_element(node, lookup)
    for parent in lookup.relations(
        quoted_relation(node.range_var) for node in statement.inh_relations
    ).values():
        if statement.HasField("partbound"):
            yield Lock(parent.oid, _AX)
            yield from neighbors(parent.oid, lookup)
        else:
            yield Lock(parent.oid, _SUE)


def _table_element(node: Node, lookup: Lookup) -> Iterator[Lock]:
    kind = node.WhichOneof("node")
    if kind == "column_def":
        yield from column_references(node.column_def, lookup)
    elif kind == "constraint" and node.constraint.contype == ConstrType.FOREIGN:
        yield from references(node.constraint, lookup)
    elif kind == "table_like_clause":
        yield from _access_share(node.table_like_clause.relation, lookup)


def create_foreign_table(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE FOREIGN TABLE: as CREATE TABLE."""
    yield from create_table(statement.base_stmt, lookup)


def create_table_as(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE TABLE AS, CREATE MATERIALIZED VIEW: what the query reads."""
    exists = statement.if_not_exists and resolve(statement.into.rel, lookup) is not None
    only_parsed = exists or statement.into.skip_data
    yield from (named if only_parsed else planned)(statement.query, lookup)


def create_view(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE [OR REPLACE] VIEW."""
    yield from named(statement.query, lookup)
    existing = resolve(statement.view, lookup) if statement.replace else None
    if existing is not None:
        yield Lock(existing.oid, _AX)


def create_index(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE INDEX [CONCURRENTLY]."""
    relation = resolve(statement.relation, lookup)
    if relation is None:
        return
    recurses = statement.relation.inh and relation.is_partitioned
    oids = lookup.family_of(relation) if recurses else {relation.oid}
    yield from locks(oids, _SUE if statement.concurrent else LockMode.ShareLock)


def create_trigger(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE [CONSTRAINT] TRIGGER; one for each row goes to the partitions too."""
    relation = resolve(statement.relation, lookup)
    if relation is not None:
        recurses = statement.row and relation.is_partitioned
        oids = lookup.family_of(relation) if recurses else {relation.oid}
        yield from locks(oids, LockMode.ShareRowExclusiveLock)
    if statement.HasField("constrrel"):
        yield from _access_share(statement.constrrel, lookup)


def create_rule(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE [OR REPLACE] RULE."""
    for action in statement.actions:
        yield from named(action, lookup)
    relation = resolve(statement.relation, lookup)
    if relation is not None:
        yield Lock(relation.oid, _AX)


def create_policy(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE POLICY, ALTER POLICY."""
    table = resolve(statement.table, lookup)
    if table is not None:
        yield Lock(table.oid, _AX)
    yield from named(statement.qual, lookup)
    yield from named(statement.with_check, lookup)


def create_statistics(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE STATISTICS."""
    names = [quoted_relation(node.range_var) for node in statement.relations]
    yield from locks((found.oid for found in lookup.relations(names).values()), _SUE)


def sequence(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """CREATE SEQUENCE, ALTER SEQUENCE: the sequence, and the table of OWNED BY."""
    if node_tag(statement) == "AlterSeqStmt":
        found = resolve(statement.sequence, lookup)
        if found is not None:
            yield Lock(found.oid, LockMode.ShareRowExclusiveLock)
    for option in (node.def_elem for node in statement.options):
        parts = strings(option.arg.list.items) if option.defname == "owned_by" else []
        table = lookup.relation(qualified_name(*parts[:-1])) if len(parts) > 1 else None
        if table is not None:
            yield Lock(table.oid, LockMode.AccessShareLock)


def _access_share(range_var: Node, lookup: Lookup) -> Iterator[Lock]:
    relation = resolve(range_var, lookup)
    if relation is not None:
        yield Lock(relation.oid, LockMode.AccessShareLock)
