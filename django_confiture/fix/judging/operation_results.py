"""What a rehearsal recorded of each operation: what it runs, locks, renames and writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.results import OperationResult
from django_confiture.dry_run.rewriting.replaced import dropped_by, made_by
from django_confiture.dry_run.sql.parsing.enums import ObjectType
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse

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
    """Yield the statements of an operation; those that code sends may have placeholders.

    Django asks the catalog with some, too, by functions: such queries change nothing.
    """
    for each in operation.statements:
        plain = parse(each.text, placeholders=False)
        if all(statement.kind is not Kind.UNPARSED for statement in plain):
            yield from plain
            continue
        for statement in parse(each.text, placeholders=True):
            if statement.command != "SELECT" or statement.kind is Kind.SELECT:
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


def there_for_a_moment(migration: Migration, results: Sequence[OperationResult]) -> dict[int, str]:
    """Return the operations from one that makes a constraint to one that drops it again.

    By their index, with the constraint's name; unique indexes count as constraints.
    """
    found: dict[int, str] = {}
    made: dict[str, int] = {}
    for index, (_operation, result) in enumerate(own_results(migration, results)):
        statements = list(statements_of(result))
        own = set(_constraints_made(statements))  # Django may drop one and make it again
        dropped = {name for each in statements for _kind, _table, name in dropped_by(each)} - own
        for name in dropped.intersection(made):
            found |= dict.fromkeys(range(made[name], index + 1), name)
        made |= dict.fromkeys(own, index)
    return found


def _constraints_made(statements: Sequence[Statement]) -> Iterator[str]:
    for each in statements:
        if each.what != "index_stmt" or each.node.index_stmt.unique:
            yield from (name for (_kind, _table, name), _sql in made_by(each))


def written_by(operation: OperationResult) -> set[str]:
    """Return the tables of which an operation inserts, updates or deletes rows."""
    return {
        name
        for each in operation.statements
        for write in each.writes
        for name in (write.relation, write.relation.rpartition(".")[2])
    }


def writes_rows_alone(operation: OperationResult) -> bool:
    """Return whether an operation writes rows, also of new tables, and changes no table."""
    return any(each.rows_written for each in operation.statements) and not locked_by(operation)
