"""Rules for statements that read and write rows: SELECT, INSERT, UPDATE, DELETE, MERGE, COPY."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from django_confiture.dry_run.locks.catalog import Lookup, NamedRelation, Read
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules.base import Lock, locks
from django_confiture.dry_run.locks.rules.rows import Write, foreign_key_locks, writes_of
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    children,
    has_field,
    node_tag,
    quoted_relation,
    unwrapped,
)

_WRITERS = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}


@dataclasses.dataclass(frozen=True, slots=True)
class Use:
    """A relation that a query names, and the mode that it takes there."""

    name: str
    mode: LockMode
    children: bool
    """Whether partitions and inheritance children are locked too."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Scope:
    """What is in force at a place of the tree."""

    ctes: frozenset[str] = frozenset()
    locked: frozenset[str] = frozenset()
    """Aliases in ``FOR UPDATE OF`` and its like."""
    all_locked: bool = False

    def inner(self) -> _Scope:
        """Return the scope of an expression or subquery, which row locks do not reach."""
        return _Scope(self.ctes)

    def locks_rows_of(self, alias: str) -> bool:
        return self.all_locked or alias in self.locked


class Collector:
    """Collect the uses and the writes of one statement."""

    def __init__(self) -> None:
        self.uses: list[Use] = []
        self.writes: list[tuple[str, Write]] = []

    def collect(self, message: Node, scope: _Scope = _Scope()) -> Collector:
        """Visit the message and all below it."""
        message = unwrapped(message)
        tag = node_tag(message)
        if tag == "RangeVar":
            self._range_var(message, scope)
            return self
        if tag == "IntoClause":  # a table that is yet to be made
            return self
        if tag == "RangeSubselect":
            locked = scope.locks_rows_of(message.alias.aliasname)
            scope = dataclasses.replace(scope, all_locked=locked)
        scope = self._with_ctes(message, scope)
        if tag == "SelectStmt":
            self._select(message, scope)
        else:
            writer = tag in _WRITERS
            if writer:
                self._target(message)
            self._children(message, scope, {"with_clause", "relation" if writer else ""})
        return self

    def _range_var(self, node: Node, scope: _Scope) -> None:
        if node.schemaname or node.relname not in scope.ctes:
            locked = scope.locks_rows_of(node.alias.aliasname or node.relname)
            mode = LockMode.RowShareLock if locked else LockMode.AccessShareLock
            self.uses.append(Use(quoted_relation(node), mode, node.inh))

    def _with_ctes(self, message: Node, scope: _Scope) -> _Scope:
        """Visit the statement's ``WITH`` list and return the scope with its names.

        Without ``RECURSIVE`` a name is known only after its own query: ``WITH t AS (SELECT * FROM
        t)`` reads the table ``t``.
        """
        if not has_field(message, "with_clause"):
            return scope
        clause: Node = message.with_clause
        entries = [node.common_table_expr for node in clause.ctes]
        ctes = scope.ctes
        if clause.recursive:
            ctes |= {entry.ctename for entry in entries}
        for entry in entries:
            self.collect(entry.ctequery, _Scope(ctes))
            ctes |= {entry.ctename}
        return dataclasses.replace(scope, ctes=ctes)

    def _select(self, node: Node, scope: _Scope) -> None:
        clauses = [item.locking_clause for item in node.locking_clause]
        in_from = dataclasses.replace(
            scope,
            locked=frozenset(
                rel.range_var.relname for clause in clauses for rel in clause.locked_rels
            ),
            all_locked=scope.all_locked or any(not clause.locked_rels for clause in clauses),
        )
        for item in node.from_clause:
            self.collect(item, in_from)
        self._children(
            node, scope.inner(), {"with_clause", "from_clause", "locking_clause", "larg", "rarg"}
        )
        for side in ("larg", "rarg"):
            if node.HasField(side):
                self.collect(getattr(node, side), scope)

    def _target(self, node: Node) -> None:
        """Note the relation that an INSERT, UPDATE, DELETE or MERGE writes to."""
        relation: Node = node.relation
        # Which partition an INSERT goes to is known to its rows alone.
        below = relation.inh and node_tag(node) != "InsertStmt"
        self.uses.append(Use(quoted_relation(relation), LockMode.RowExclusiveLock, below))
        self.writes.extend((quoted_relation(relation), write) for write in writes_of(node))

    def _children(self, message: Node, scope: _Scope, skip: set[str]) -> None:
        for field, child in children(message):
            if field not in skip:
                self.collect(child, scope)


def query(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """SELECT, INSERT, UPDATE, DELETE, MERGE: the named relations, what is below, foreign keys."""
    found = Collector().collect(statement)
    relations = lookup.relations(use.name for use in found.uses)
    yield from _uses(found.uses, relations, lookup)
    for name, write in found.writes:
        if name in relations and relations[name].has_triggers:
            yield from foreign_key_locks(relations[name].oid, write, lookup)


def planned(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """Yield what planning the query locks, without what its rows cause."""
    uses = Collector().collect(statement).uses
    yield from _uses(uses, lookup.relations(use.name for use in uses), lookup)


def named(message: Node, lookup: Lookup) -> Iterator[Lock]:
    """Yield what parsing the query locks: the named relations alone, as for a view's definition."""
    uses = Collector().collect(message).uses
    relations = lookup.relations(use.name for use in uses)
    yield from (Lock(relations[use.name].oid, use.mode) for use in uses if use.name in relations)


def _uses(
    uses: Iterable[Use], relations: Mapping[str, NamedRelation], lookup: Lookup
) -> Iterator[Lock]:
    reads = lookup.reads(relations.values())
    for use in uses:
        relation = relations.get(use.name)
        if relation is not None:
            yield Lock(relation.oid, use.mode)
            if use.children or relation.kind == "v":
                below = reads[relation.oid]
                yield from locks((read.oid for read in below), _mode_below(use, relation, below))


def _mode_below(use: Use, relation: NamedRelation, below: Iterable[Read]) -> LockMode:
    """Return the mode below a relation; a view over several tables can only be read."""
    if relation.kind == "v" and use.mode is LockMode.RowExclusiveLock:
        several = sum(not read.is_child for read in below) > 1
        return LockMode.AccessShareLock if several else use.mode
    return use.mode
