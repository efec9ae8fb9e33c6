"""What a rehearsal recorded of each operation: its statements, and what these lock and rename."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.results import OperationResult
from django_confiture.dry_run.sql.enums import ObjectType
from django_confiture.dry_run.sql.parser import Kind, Statement, parse

_OF_ROWS = {"AccessShareLock", "RowShareLock", "RowExclusiveLock"}
"""The locks of statements that read and write rows."""


def own_results(
    migration: Migration, results: Sequence[OperationResult]
) -> Iterator[tuple[Operation, OperationResult]]:
    """Yield each operation with its result; Django's contenttypes may have put others between."""
    left = list(results)
    for operation in migration.operations:
        while left[0].name != type(operation).__name__:
            del left[0]
        yield operation, left.pop(0)


def statements_of(operation: OperationResult) -> Iterator[Statement]:
    """Yield the statements of an operation; a query with placeholders may be no plain SQL."""
    for each in operation.statements:
        for statement in parse(each.text, placeholders=False):
            if statement.kind is not Kind.UNPARSED or statement.command != "SELECT":
                yield statement


def renamed_indexes(operations: Sequence[OperationResult]) -> dict[str, str]:
    """Return the indexes that operations rename, with their new names."""
    return {
        node.relation.relname: node.newname
        for operation in operations
        for each in statements_of(operation)
        if each.what == "rename_stmt"
        for node in [each.node.rename_stmt]
        if node.rename_type == ObjectType.INDEX
    }


def locked_by(operation: OperationResult) -> set[str]:
    """Return the tables, without their schemas, that an operation locks to change them."""
    return {
        lock.relation.rpartition(".")[2]
        for each in operation.statements
        for lock in each.locks
        if lock.mode not in _OF_ROWS
    }
