"""Migrations that fail for a reason that has a well-known way around it."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.postgres.operations import NotInTransactionMixin

from django_confiture.dry_run.findings.finding import finding
from django_confiture.dry_run.findings.subject import JudgedStatement, Subject
from django_confiture.dry_run.results import Failure, Finding
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ConstrType
from django_confiture.dry_run.sql.parsing.nodes import (
    column_def,
    constraints_of_column,
    subcommands,
    written_name,
)


def known_failures(subject: Subject) -> Iterator[Finding]:
    """Yield why a migration failed, where a rule knows."""
    error = subject.result.error
    if error is None:
        return
    last = max(subject.steps, key=lambda step: step.id, default=None)
    if error.type == "NotNullViolation" and last is not None:
        yield from _column_without_default(last, error)
    elif error.type in ("ActiveSqlTransaction", "NotSupportedError"):
        yield from _concurrently(subject, last, error)
    elif error.type == "DuplicateTable":
        yield from _invalid_indexes(subject, error)
    elif error.type == "UnsafeNewEnumValueUsage":
        yield from _enum_value(subject, last, error)


def _column_without_default(step: JudgedStatement, error: Failure) -> Iterator[Finding]:
    if step.statement.what != "alter_table_stmt":
        return
    for clause in subcommands(step.node):
        column = column_def(clause)
        if clause.subtype != AlterTableType.AddColumn or column is None:
            continue
        given = constraints_of_column(column)
        if ConstrType.NOTNULL in given and ConstrType.DEFAULT not in given:
            yield finding(
                "not-null-without-default",
                step,
                written_name(step.node.relation),
                f"{column.colname} has no value for the rows that are there already",
                evidence=[f"{error.type}: {error.message}"],
            )


def _concurrently(
    subject: Subject, last: JudgedStatement | None, error: Failure
) -> Iterator[Finding]:
    operations = subject.result.operations
    if not operations:
        return
    index = operations[-1].index
    failed = subject.migration.operations[index]
    in_sql = last is not None and last.statement.plain_sql is not None
    if isinstance(failed, NotInTransactionMixin) or in_sql:
        yield finding(
            "concurrently-in-transaction",
            index,
            None,
            "CONCURRENTLY can't run in the transaction of the migration",
            evidence=[f"{error.type}: {error.message}"],
        )


def _invalid_indexes(subject: Subject, error: Failure) -> Iterator[Finding]:
    operations = subject.result.operations
    for each in subject.invalid_indexes:
        yield finding(
            "invalid-index-left",
            operations[-1].index if operations else None,
            each.table,
            f"index {each.quoted} is there, INVALID: what built it was cut off",
            evidence=[f"{error.type}: {error.message}"],
        )


def _enum_value(
    subject: Subject, last: JudgedStatement | None, error: Failure
) -> Iterator[Finding]:
    added = [s for s in subject.steps if s.statement.what == "alter_enum_stmt" and s.node.new_val]
    if last is None or not any(set(step.runs) & set(last.runs) for step in added):
        return
    yield finding(
        "enum-value-used-at-once",
        last,
        None,
        f"{added[0].node.new_val} can't be used in the transaction that adds it",
        evidence=[f"{error.type}: {error.message}"],
    )
