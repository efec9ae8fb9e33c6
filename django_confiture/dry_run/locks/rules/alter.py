"""Rules for ALTER TABLE and its like for views, sequences, indexes and types."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from django_confiture.dry_run.locks.catalog import Constraint, Lookup, NamedRelation
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules.base import Lock, locks, resolve
from django_confiture.dry_run.locks.rules.partitions import attached, detached
from django_confiture.dry_run.sql.parsing.enums import TRIGGER_SWITCHES, AlterTableType, ConstrType
from django_confiture.dry_run.sql.parsing.nodes import Node, definition
from django_confiture.postgres import POSTGRESQL_17, POSTGRESQL_18

_SUE = LockMode.ShareUpdateExclusiveLock
_SRX = LockMode.ShareRowExclusiveLock
_AX = LockMode.AccessExclusiveLock

_MODES: Mapping[int, LockMode] = {
    AlterTableType.SetStatistics: _SUE,
    AlterTableType.SetOptions: _SUE,
    AlterTableType.ResetOptions: _SUE,
    AlterTableType.ClusterOn: _SUE,
    AlterTableType.DropCluster: _SUE,
    AlterTableType.ValidateConstraint: _SUE,
    AlterTableType.AttachPartition: _SUE,
    AlterTableType.DetachPartitionFinalize: _SUE,
    **dict.fromkeys(TRIGGER_SWITCHES, _SRX),
}
"""Subcommands that need less than ACCESS EXCLUSIVE; ``_mode`` has rules for some others."""

_HEAVY_OPTIONS = frozenset(
    {"user_catalog_table", "security_barrier", "security_invoker", "check_option"}
)
"""Storage parameters of tables that need ACCESS EXCLUSIVE; SHARE UPDATE EXCLUSIVE does for the
others (``src/backend/access/common/reloptions.c``)."""

_RECURSING = frozenset(
    {
        AlterTableType.AddColumn,
        AlterTableType.ColumnDefault,
        AlterTableType.DropNotNull,
        AlterTableType.SetNotNull,
        AlterTableType.SetExpression,
        AlterTableType.DropExpression,
        AlterTableType.SetStatistics,
        AlterTableType.SetStorage,
        AlterTableType.AlterColumnType,
    }
)
"""Subcommands that go to partitions and inheritance children too, unless ONLY is given."""

_RECURSING_TO_PARTITIONS = TRIGGER_SWITCHES | {AlterTableType.AlterConstraint}
"""The same for partitions only."""
_IDENTITY = frozenset(
    {AlterTableType.AddIdentity, AlterTableType.SetIdentity, AlterTableType.DropIdentity}
)
_REL_OPTIONS = frozenset(
    {
        AlterTableType.SetRelOptions,
        AlterTableType.ResetRelOptions,
        AlterTableType.ReplaceRelOptions,
    }
)
_INDEX_ONLY = frozenset({ConstrType.UNIQUE, ConstrType.EXCLUSION})
"""Constraints that only build an index on a partition; a primary key also sets NOT NULL."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Target:
    """The altered table and what the statement as a whole takes on it."""

    relation: NamedRelation
    mode: LockMode
    family: frozenset[int]
    """The table, and what is below it unless ONLY was given."""

    @property
    def oid(self) -> int:
        return self.relation.oid


def alter_table(statement: Node, lookup: Lookup) -> Iterator[Lock]:
    """ALTER TABLE, VIEW, MATERIALIZED VIEW, SEQUENCE, INDEX, and TYPE of a composite type.

    The table is locked once, in the strongest mode that one of the subcommands needs, and its
    children in the same mode if one of the subcommands goes to them.
    """
    relation = resolve(statement.relation, lookup)
    if relation is None or relation.is_index:
        return
    commands = [node.alter_table_cmd for node in statement.cmds]
    if relation.kind == "c":
        yield from locks(lookup.typed_tables(relation.oid), _AX)
        return
    mode = max((_mode(command) for command in commands), default=_AX)
    yield Lock(relation.oid, mode)
    family = lookup.family_of(relation) if statement.relation.inh else {relation.oid}
    target = _Target(relation, mode, frozenset(family))
    if len(family) > 1 and any(_recurses(command, relation, lookup) for command in commands):
        yield from locks(family, mode)
    for command in commands:
        effect = _EFFECTS.get(command.subtype)
        if effect is not None:
            yield from effect(target, command, lookup)


def _mode(command: Node) -> LockMode:
    """Return what one subcommand needs on the altered table itself."""
    change = definition(command)
    match command.subtype:
        case AlterTableType.AddConstraint if change.constraint.contype == ConstrType.FOREIGN:
            return _SRX
        case AlterTableType.DetachPartition if change.partition_cmd.concurrent:
            return _SUE
        case subtype if subtype in _REL_OPTIONS:
            options = {item.def_elem.defname for item in change.list.items}
            return _SUE if options.isdisjoint(_HEAVY_OPTIONS) else _AX
        case subtype:
            return _MODES.get(subtype, _AX)


def _recurses(command: Node, relation: NamedRelation, lookup: Lookup) -> bool:
    """Return whether one subcommand goes to partitions or children for sure.

    What is dropped or validated there depends on what there is: see the rules below.
    """
    if command.subtype == AlterTableType.AddColumn and command.missing_ok:
        name = definition(command).column_def.colname
        return not lookup.columns([relation.oid], name)
    if command.subtype in _RECURSING:
        return True
    if command.subtype in _RECURSING_TO_PARTITIONS:
        return relation.is_partitioned
    if command.subtype in _IDENTITY:
        return relation.is_partitioned and lookup.server_version >= POSTGRESQL_17
    if command.subtype == AlterTableType.AddConstraint:
        return _constraint_recurses(definition(command).constraint, relation, lookup)
    return False


def _constraint_recurses(constraint: Node, relation: NamedRelation, lookup: Lookup) -> bool:
    # 18 locks the children before it looks at what kind of constraint it is.
    if lookup.server_version >= POSTGRESQL_18:
        return True
    if relation.is_partitioned:
        return constraint.contype not in _INDEX_ONLY
    return constraint.contype == ConstrType.CHECK and not constraint.is_no_inherit


def references(constraint: Node, lookup: Lookup) -> Iterator[Lock]:
    """Yield the locks on the table that a new foreign key refers to, and on its partitions."""
    relation = resolve(constraint.pktable, lookup)
    if relation is not None:
        oids = lookup.family_of(relation) if relation.is_partitioned else {relation.oid}
        yield from locks(oids, _SRX)


def column_references(column: Node, lookup: Lookup) -> Iterator[Lock]:
    """Yield the locks of the REFERENCES in a column's definition."""
    for constraint in (node.constraint for node in column.constraints):
        if constraint.contype == ConstrType.FOREIGN:
            yield from references(constraint, lookup)


def _add_column(target: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    column = definition(command).column_def
    if not (command.missing_ok and lookup.columns([target.oid], column.colname)):
        yield from column_references(column, lookup)


def _add_constraint(target: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    constraint = definition(command).constraint
    if constraint.contype in _INDEX_ONLY and target.relation.is_partitioned:
        yield from locks(target.family, LockMode.ShareLock)
    if constraint.contype == ConstrType.FOREIGN:
        yield from references(constraint, lookup)


def _drop_column(target: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    """Drop it from the children too, with what depends on it."""
    yield from locks(lookup.dropped(lookup.columns(target.family, command.name))[0], _AX)


def _alter_type(target: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    """A foreign key is dropped and created again, which locks both of its sides."""
    for key in lookup.foreign_keys(target.family):
        if (key.table in target.family and command.name in key.columns) or (
            key.referenced in target.family and command.name in key.referenced_columns
        ):
            yield from locks((key.table, key.referenced), _AX)


def _named_constraints(target: _Target, command: Node, lookup: Lookup) -> list[Constraint]:
    """Return the constraint on the table itself and its copies on the children."""
    found = lookup.constraints(target.family, command.name)
    own = [constraint for constraint in found if constraint.table == target.oid]
    return found if any(constraint.inheritable for constraint in own) else own


def _drop_constraint(target: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    """Drop it from the children too, with what depends on it."""
    constraints = _named_constraints(target, command, lookup)
    roots = [("pg_constraint", constraint.oid, 0) for constraint in constraints]
    yield from locks(lookup.dropped(roots)[0], _AX)


def _validate(target: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    """Only a constraint that is not valid yet goes to children or looks at a referenced table."""
    for constraint in _named_constraints(target, command, lookup):
        if constraint.table == target.oid and not constraint.validated:
            if constraint.kind == "f":
                yield Lock(constraint.referenced, LockMode.RowShareLock)
            if constraint.inheritable or target.relation.is_partitioned:
                yield from locks(target.family, target.mode)


def _alter_constraint(target: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    """[NOT] ENFORCED makes or drops the triggers on the referenced table (18)."""
    change = definition(command).atalter_constraint
    if change.alter_enforceability:
        found = lookup.constraints(target.family, change.conname)
        yield from locks({item.referenced for item in found if item.kind == "f"}, _AX)
    if change.alter_inheritability:
        yield from locks(target.family, target.mode)


def _with_sequences(target: _Target, _: Node, lookup: Lookup) -> Iterator[Lock]:
    yield from locks(lookup.owned_sequences([target.oid]), _AX)


def _set_identity(target: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    yield from locks(lookup.owned_sequences([target.oid], command.name), _SRX)


def _drop_identity(target: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    yield from locks(lookup.owned_sequences([target.oid], command.name), _AX)


def _add_inherit(_: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    parent = resolve(definition(command).range_var, lookup)
    if parent is not None:
        yield Lock(parent.oid, _SUE)


def _drop_inherit(_: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    parent = resolve(definition(command).range_var, lookup)
    if parent is not None:
        yield Lock(parent.oid, LockMode.AccessShareLock)


def _attach(target: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    partition = resolve(definition(command).partition_cmd.name, lookup)
    if partition is not None:
        yield from attached(target.oid, partition, lookup)


def _detach(target: _Target, command: Node, lookup: Lookup) -> Iterator[Lock]:
    partition = resolve(definition(command).partition_cmd.name, lookup)
    if partition is not None:
        yield from detached(target.oid, partition, lookup)


_Effect = Callable[[_Target, Node, Lookup], Iterator[Lock]]

_EFFECTS: Mapping[int, _Effect] = {
    AlterTableType.AddColumn: _add_column,
    AlterTableType.AddConstraint: _add_constraint,
    AlterTableType.DropColumn: _drop_column,
    AlterTableType.DropConstraint: _drop_constraint,
    AlterTableType.AlterColumnType: _alter_type,
    AlterTableType.ValidateConstraint: _validate,
    AlterTableType.AlterConstraint: _alter_constraint,
    AlterTableType.ChangeOwner: _with_sequences,
    AlterTableType.SetLogged: _with_sequences,
    AlterTableType.SetUnLogged: _with_sequences,
    AlterTableType.SetIdentity: _set_identity,
    AlterTableType.DropIdentity: _drop_identity,
    AlterTableType.AddInherit: _add_inherit,
    AlterTableType.DropInherit: _drop_inherit,
    AlterTableType.AttachPartition: _attach,
    AlterTableType.DetachPartition: _detach,
    AlterTableType.DetachPartitionFinalize: _detach,
}
"""What a subcommand locks in addition to the table itself."""
