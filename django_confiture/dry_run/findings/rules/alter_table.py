"""ALTER TABLE, one subcommand after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from django_confiture.dry_run.findings.alteration import Alteration
from django_confiture.dry_run.findings.finding import measured
from django_confiture.dry_run.findings.subject import JudgedStatement, Subject
from django_confiture.dry_run.findings.thresholds import grows_with, is_large
from django_confiture.dry_run.results import Finding
from django_confiture.dry_run.rewriting.facts import known_name
from django_confiture.dry_run.rewriting.parts.wider_types import is_only_noted
from django_confiture.dry_run.sql.parsing.building import constraint_sql
from django_confiture.dry_run.sql.parsing.enums import TRIGGER_SWITCHES, AlterTableType, ConstrType
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    added_constraint,
    constraints_of_column,
    definition,
    functions_called_in,
    subcommands,
    type_name,
    written_name,
)

_SERIALS = {"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"}


def of_alter_table(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    """Yield what the subcommands of an ALTER TABLE do."""
    table = step.existing(step.node.relation)
    if table is None:
        yield from _foreign_key_of_new_table(subject, step)
        new = written_name(step.node.relation)
        for clause in subcommands(step.node):
            if clause.subtype == AlterTableType.AttachPartition:
                yield from _attach(Alteration(subject, step, new, clause))
        return
    for clause in subcommands(step.node):
        rule = _RULES.get(clause.subtype)
        if rule is not None:
            yield from rule(Alteration(subject, step, table, clause))


def _add_column(alter: Alteration) -> Iterator[Finding]:
    column = definition(alter.subcommand).column_def
    given = constraints_of_column(column)
    name = column.colname
    if alter.rewrites:
        yield from _rewriting_column(alter, column, given)
    elif alter.scans and ConstrType.CHECK in given:
        message = f"Adding {name} with its CHECK reads all of {alter.table} while it is locked"
        yield _found(alter, "check-constraint-scan", message)
    if (
        ConstrType.FOREIGN in given
        and ConstrType.DEFAULT in given
        and alter.step.scans(alter.table)
    ):
        message = f"Adding {name} with a default checks its foreign key for every row"
        yield _found(alter, "foreign-key-scan", message)
    if alter.builds and ConstrType.UNIQUE in given and not alter.rewrites:
        message = f"Adding {name} as unique builds its index while {alter.table} is locked"
        yield _found(alter, "unique-constraint-builds-index", message)


def _rewriting_column(
    alter: Alteration, column: Node, given: Mapping[int, Node]
) -> Iterator[Finding]:
    name, table = column.colname, alter.table
    if ConstrType.GENERATED in given:
        message = f"The stored generated column {name} makes PostgreSQL rewrite {table}"
        yield _found(alter, "generated-column-rewrite", message)
    elif ConstrType.IDENTITY in given or type_name(column) in _SERIALS:
        message = f"Numbering the rows in {name} makes PostgreSQL rewrite {table}"
        yield _found(alter, "identity-column-rewrite", message)
    elif ConstrType.DEFAULT in given and functions_called_in(given[ConstrType.DEFAULT]):
        message = f"The default of {name} differs by row, so PostgreSQL rewrites {table}"
        yield _found(alter, "volatile-default-rewrite", message)


def _add_constraint(alter: Alteration) -> Iterator[Finding]:
    constraint = definition(alter.subcommand).constraint
    rule = _CONSTRAINTS.get(constraint.contype)
    if rule is not None and not constraint.skip_validation:
        yield from rule(alter, constraint)


def _check(alter: Alteration, constraint: Node) -> Iterator[Finding]:
    if alter.scans:
        message = f"Checking {_named(constraint)} reads all of {alter.table} while it is locked"
        yield _found(alter, "check-constraint-scan", message)


def _foreign_key(alter: Alteration, constraint: Node) -> Iterator[Finding]:
    if _partitions_have(alter, constraint):
        return
    parent = written_name(constraint.pktable)
    message = (
        f"Checking {_named(constraint)} for every row blocks writes to {alter.table} and {parent}"
    )
    yield _found(alter, "foreign-key-scan", message)


def _partitions_have(alter: Alteration, constraint: Node) -> bool:
    """Return whether all partitions have the same foreign key: then PostgreSQL checks no row."""
    known, wanted = alter.subject.known, constraint_sql(constraint)
    partitions = known.partitions.get(known_name(alter.step.node.relation), ())
    return bool(partitions) and all(
        known.constraints.get((f"{schema}.{name}", constraint.conname)) == wanted
        for schema, name in partitions
    )


def _foreign_key_of_new_table(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    """Yield the tables that stay locked while the rows of a table of the dry run are checked.

    Where PostgreSQL checks them by index, no scan is counted: then it is the rows that the plan
    has put into the new table that tell.
    """
    rows = subject.rows_put_into(step.node.relation.relname, step)
    if not any(_adds_foreign_key(clause) for clause in subcommands(step.node)):
        return
    for parent in step.locks:
        read = parent in step.scanned and is_large(subject, parent, step.scanned[parent])
        if step.blocks_writes(parent) and (grows_with(subject, parent, rows) or read):
            message = f"Checking the rows of the new table blocks writes to {parent}"
            yield measured("foreign-key-scan", subject, step, parent, message)


def _adds_foreign_key(clause: Node) -> bool:
    constraint = added_constraint(clause)
    return (
        constraint is not None
        and constraint.contype == ConstrType.FOREIGN
        and not constraint.skip_validation
    )


def _unique(alter: Alteration, constraint: Node) -> Iterator[Finding]:
    if alter.builds and not constraint.indexname:
        message = f"The index of {_named(constraint)} is built while {alter.table} is locked"
        yield _found(alter, "unique-constraint-builds-index", message)


def _primary_key(alter: Alteration, constraint: Node) -> Iterator[Finding]:
    if (alter.builds and not constraint.indexname) or alter.scans:
        message = f"The new primary key reads all of {alter.table} while it is locked"
        yield _found(alter, "primary-key-scan", message)


def _exclusion(alter: Alteration, constraint: Node) -> Iterator[Finding]:
    if alter.builds:
        message = (
            f"The index of {_named(constraint)} is built row by row while {alter.table} is locked"
        )
        yield _found(alter, "exclusion-constraint-builds-index", message)


def _not_null_constraint(alter: Alteration, constraint: Node) -> Iterator[Finding]:
    if alter.scans:
        columns = ", ".join(key.string.sval for key in constraint.keys)
        yield _not_null_finding(alter, columns)


def _set_not_null(alter: Alteration) -> Iterator[Finding]:
    if alter.scans:
        yield _not_null_finding(alter, alter.subcommand.name)


def _not_null_finding(alter: Alteration, column: str) -> Finding:
    message = f"Looking for NULLs in {column} reads all of {alter.table} while it is locked"
    return _found(alter, "not-null-scan", message)


def _type(alter: Alteration) -> Iterator[Finding]:
    name, table = alter.subcommand.name, alter.table
    if alter.rewrites:
        message = f"The new type of {name} makes PostgreSQL rewrite {table}"
        yield _found(alter, "type-change-rewrite", message)
    elif (alter.scans or alter.builds) and not _is_of_others(alter):
        message = f"The new type of {name} rebuilds indexes or checks constraints of {table} again"
        yield _found(alter, "type-change-rebuilds-indexes", message)
    for other in alter.step.scanned:
        if other == table or other in alter.step.of(table, alter.step.scanned):
            continue
        if other in alter.step.result.rewrites:
            message = f"{other} inherits {name}: its new type makes PostgreSQL rewrite that, too"
            yield _found(alter, "type-change-rewrite", message, other)
        else:
            message = f"The new type of {name} checks the foreign keys of {other} again"
            yield _found(alter, "foreign-key-scan", message, other)


def _is_of_others(alter: Alteration) -> bool:
    """Return whether other subcommands of the same statement have read the table, not the type."""
    node, known = alter.step.node, alter.subject.known
    return len(node.cmds) > 1 and is_only_noted(node.relation, alter.subcommand, known)


def _validate(alter: Alteration) -> Iterator[Finding]:
    if not alter.scans and alter.subcommand.name not in alter.step.result.constraints:
        return
    mode = alter.step.effective(alter.table)
    if mode is not None and mode.blocks_writes:
        message = (
            f"{alter.subcommand.name} is validated while {alter.table} is still locked from before"
        )
        yield _found(alter, "validate-while-locked", message)


def _attach(alter: Alteration) -> Iterator[Finding]:
    for table in alter.step.scanned:
        if alter.step.blocks_writes(table):
            message = f"Attaching the partition reads all of {table} while it is locked"
            yield _found(alter, "partition-attach-scan", message, table)


def _detach(alter: Alteration) -> Iterator[Finding]:
    if not definition(alter.subcommand).partition_cmd.concurrent:
        message = f"Detaching a partition blocks reads and writes of {alter.table}"
        yield _found(alter, "partition-detach-blocks-reads", message)


def _trigger(alter: Alteration) -> Iterator[Finding]:
    message = f"Enabling or disabling triggers blocks writes to {alter.table} until the commit"
    yield _found(alter, "trigger-blocks-writes", message)


def _found(alter: Alteration, finding_id: str, message: str, table: str = "") -> Finding:
    return measured(finding_id, alter.subject, alter.step, table or alter.table, message)


def _named(constraint: Node) -> str:
    return constraint.conname or "the constraint"


_CONSTRAINTS: Mapping[int, Callable[[Alteration, Node], Iterator[Finding]]] = {
    ConstrType.CHECK: _check,
    ConstrType.FOREIGN: _foreign_key,
    ConstrType.UNIQUE: _unique,
    ConstrType.PRIMARY: _primary_key,
    ConstrType.EXCLUSION: _exclusion,
    ConstrType.NOTNULL: _not_null_constraint,
}

_RULES: Mapping[int, Callable[[Alteration], Iterator[Finding]]] = {
    AlterTableType.AddColumn: _add_column,
    AlterTableType.AddConstraint: _add_constraint,
    AlterTableType.SetNotNull: _set_not_null,
    AlterTableType.AlterColumnType: _type,
    AlterTableType.ValidateConstraint: _validate,
    AlterTableType.AttachPartition: _attach,
    AlterTableType.DetachPartition: _detach,
    **dict.fromkeys(TRIGGER_SWITCHES, _trigger),
}
