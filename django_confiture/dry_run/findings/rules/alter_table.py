"""ALTER TABLE, one subcommand after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from postgast import pg_query_pb2 as pg

from django_confiture.dry_run.findings import parse_tree
from django_confiture.dry_run.findings.advice import columns, constraints, tables
from django_confiture.dry_run.findings.alter_clause import Alter
from django_confiture.dry_run.findings.finding import measured
from django_confiture.dry_run.findings.subject import Step, Subject
from django_confiture.dry_run.findings.thresholds import is_large
from django_confiture.dry_run.results import Finding

_SERIALS = {"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"}


def of_alter_table(subject: Subject, step: Step) -> Iterator[Finding]:
    """Yield what the subcommands of an ALTER TABLE do."""
    table = step.existing(step.node.relation)
    if table is None:
        yield from _foreign_key_of_new_table(subject, step)
        return
    for clause in parse_tree.clauses(step.node):
        rule = _RULES.get(clause.subtype)
        if rule is not None:
            yield from rule(Alter(subject, step, table, clause))


def _add_column(alter: Alter) -> Iterator[Finding]:
    column = parse_tree.definition(alter.clause, "column_def")
    given = parse_tree.constraints(column)
    name = column.colname
    if alter.rewrites:
        yield from _rewriting_column(alter, column, given)
    elif alter.scans and pg.CONSTR_CHECK in given:
        message = f"Adding {name} with its CHECK reads all of {alter.table} while it is locked"
        yield alter.says("check-constraint-scan", message, columns.with_check(alter, column))
    if pg.CONSTR_FOREIGN in given and pg.CONSTR_DEFAULT in given and alter.step.scans(alter.table):
        message = f"Adding {name} with a default checks its foreign key for every row"
        advice = columns.with_foreign_key(alter, column)
        yield alter.says("foreign-key-scan", message, advice)
    if alter.builds and pg.CONSTR_UNIQUE in given and not alter.rewrites:
        message = f"Adding {name} as unique builds its index while {alter.table} is locked"
        advice = columns.unique(alter, column)
        yield alter.says("unique-constraint-builds-index", message, advice)


def _rewriting_column(alter: Alter, column: Any, given: Mapping[int, Any]) -> Iterator[Finding]:
    name, table = column.colname, alter.table
    if pg.CONSTR_GENERATED in given:
        message = f"The stored generated column {name} makes PostgreSQL write {table} anew"
        advice = columns.generated(alter, column)
        yield alter.says("generated-column-rewrite", message, advice)
    elif pg.CONSTR_IDENTITY in given or parse_tree.type_name(column) in _SERIALS:
        message = f"Numbering the rows in {name} makes PostgreSQL write {table} anew"
        advice = columns.identity(alter, column)
        yield alter.says("identity-column-rewrite", message, advice)
    elif pg.CONSTR_DEFAULT in given and parse_tree.calls_function(given[pg.CONSTR_DEFAULT]):
        message = f"The default of {name} differs by row, so PostgreSQL writes {table} anew"
        advice = columns.volatile_default(alter, column)
        yield alter.says("volatile-default-rewrite", message, advice)


def _add_constraint(alter: Alter) -> Iterator[Finding]:
    constraint = parse_tree.definition(alter.clause, "constraint")
    rule = _CONSTRAINTS.get(constraint.contype)
    if rule is not None and not constraint.skip_validation:
        yield from rule(alter, constraint)


def _check(alter: Alter, constraint: Any) -> Iterator[Finding]:
    if alter.scans:
        message = f"Checking {_named(constraint)} reads all of {alter.table} while it is locked"
        advice = constraints.check(alter, constraint)
        yield alter.says("check-constraint-scan", message, advice)


def _foreign_key(alter: Alter, constraint: Any) -> Iterator[Finding]:
    parent = parse_tree.written(constraint.pktable)
    message = (
        f"Checking {_named(constraint)} for every row blocks writes to {alter.table} and {parent}"
    )
    yield alter.says("foreign-key-scan", message, constraints.foreign_key(alter, constraint))


def _foreign_key_of_new_table(subject: Subject, step: Step) -> Iterator[Finding]:
    """Yield the tables that stay locked while the rows of a table of the dry run are checked.

    Where PostgreSQL checks them by index, no scan is counted: then it is the rows that the plan
    has put into the new table that tell.
    """
    rows = subject.rows_put_into(step.node.relation.relname, step)
    if not any(_adds_foreign_key(clause) for clause in parse_tree.clauses(step.node)):
        return
    for parent in step.locks:
        read = parent in step.scanned and is_large(step.scanned[parent])
        if step.blocks_writes(parent) and (is_large(rows) or read):
            message = f"Checking the rows of the new table blocks writes to {parent}"
            advice = constraints.fill_later()
            yield measured("foreign-key-scan", subject, step, parent, message, advice)


def _adds_foreign_key(clause: Any) -> bool:
    constraint = parse_tree.definition(clause, "constraint")
    return (
        constraint is not None
        and constraint.contype == pg.CONSTR_FOREIGN
        and not constraint.skip_validation
    )


def _unique(alter: Alter, constraint: Any) -> Iterator[Finding]:
    if alter.builds and not constraint.indexname:
        message = f"The index of {_named(constraint)} is built while {alter.table} is locked"
        advice = constraints.unique(alter, constraint)
        yield alter.says("unique-constraint-builds-index", message, advice)


def _primary_key(alter: Alter, constraint: Any) -> Iterator[Finding]:
    if (alter.builds and not constraint.indexname) or alter.scans:
        message = f"The new primary key reads all of {alter.table} while it is locked"
        yield alter.says("primary-key-scan", message, constraints.primary_key(alter))


def _exclusion(alter: Alter, constraint: Any) -> Iterator[Finding]:
    if alter.builds:
        message = (
            f"The index of {_named(constraint)} is built row by row while {alter.table} is locked"
        )
        yield alter.says("exclusion-constraint-builds-index", message, constraints.exclusion(alter))


def _not_null_constraint(alter: Alter, constraint: Any) -> Iterator[Finding]:
    if alter.scans:
        columns = ", ".join(key.string.sval for key in constraint.keys)
        yield _not_null_finding(alter, columns)


def _set_not_null(alter: Alter) -> Iterator[Finding]:
    if alter.scans:
        yield _not_null_finding(alter, alter.clause.name)


def _not_null_finding(alter: Alter, column: str) -> Finding:
    message = f"Looking for NULLs in {column} reads all of {alter.table} while it is locked"
    return alter.says("not-null-scan", message, constraints.not_null(alter, column))


def _type(alter: Alter) -> Iterator[Finding]:
    name, table = alter.clause.name, alter.table
    advice = columns.new_type(alter)
    if alter.rewrites:
        message = f"The new type of {name} makes PostgreSQL write {table} anew"
        yield alter.says("type-change-rewrite", message, advice)
    elif alter.scans or alter.builds:
        message = f"The new type of {name} rebuilds indexes or checks constraints of {table} again"
        yield alter.says("type-change-rebuilds-indexes", message, advice)
    for other in alter.step.scanned:
        if other != table and other not in alter.step.of(table, alter.step.scanned):
            message = f"The new type of {name} checks the foreign keys of {other} again"
            yield alter.says("foreign-key-scan", message, advice, other)


def _validate(alter: Alter) -> Iterator[Finding]:
    if not alter.scans and alter.clause.name not in alter.step.result.constraints:
        return
    mode = alter.step.effective(alter.table)
    if mode is not None and mode.blocks_writes:
        message = (
            f"{alter.clause.name} is validated while {alter.table} is still locked from before"
        )
        advice = constraints.validate(alter)
        yield alter.says("validate-while-locked", message, advice)


def _attach(alter: Alter) -> Iterator[Finding]:
    for table in alter.step.scanned:
        if alter.step.blocks_writes(table):
            message = f"Attaching the partition reads all of {table} while it is locked"
            advice = tables.attach(alter.step, alter.clause)
            yield alter.says("partition-attach-scan", message, advice, table)


def _detach(alter: Alter) -> Iterator[Finding]:
    if not parse_tree.definition(alter.clause, "partition_cmd").concurrent:
        message = f"Detaching a partition blocks reads and writes of {alter.table}"
        advice = tables.detach(alter.step)
        yield alter.says("partition-detach-blocks-reads", message, advice)


def _trigger(alter: Alter) -> Iterator[Finding]:
    message = f"Enabling or disabling triggers blocks writes to {alter.table} until the commit"
    yield alter.says("trigger-blocks-writes", message, tables.alone())


def _named(constraint: Any) -> str:
    return constraint.conname or "the constraint"


_CONSTRAINTS: Mapping[int, Callable[[Alter, Any], Iterator[Finding]]] = {
    pg.CONSTR_CHECK: _check,
    pg.CONSTR_FOREIGN: _foreign_key,
    pg.CONSTR_UNIQUE: _unique,
    pg.CONSTR_PRIMARY: _primary_key,
    pg.CONSTR_EXCLUSION: _exclusion,
    pg.CONSTR_NOTNULL: _not_null_constraint,
}

_RULES: Mapping[int, Callable[[Alter], Iterator[Finding]]] = {
    pg.AT_AddColumn: _add_column,
    pg.AT_AddConstraint: _add_constraint,
    pg.AT_SetNotNull: _set_not_null,
    pg.AT_AlterColumnType: _type,
    pg.AT_ValidateConstraint: _validate,
    pg.AT_AttachPartition: _attach,
    pg.AT_DetachPartition: _detach,
    **dict.fromkeys(
        (
            pg.AT_EnableTrig,
            pg.AT_EnableAlwaysTrig,
            pg.AT_EnableReplicaTrig,
            pg.AT_DisableTrig,
            pg.AT_EnableTrigAll,
            pg.AT_DisableTrigAll,
            pg.AT_EnableTrigUser,
            pg.AT_DisableTrigUser,
        ),
        _trigger,
    ),
}
