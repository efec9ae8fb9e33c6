"""Fields that get the name of one that the same migration removes, where their columns share it.

In files of their own there would be neither for a while. The columns of a many-to-many field are in
a table of its own, so one of those and another field have nothing in common but the name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from django.db.migrations import AddField, RemoveField, RenameField
from django.db.migrations.operations.fields import FieldOperation

from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ObjectType
from django_confiture.dry_run.sql.parsing.nodes import definition, dropped_relations, subcommands
from django_confiture.dry_run.sql.parsing.parser import Statement
from django_confiture.fix.judging.judgment import Judgment
from django_confiture.fix.outcomes import Outcome

TWO_RELEASES = " With --releases 2 it is spread over two releases."


def columns_taken(statements: Iterable[Statement]) -> frozenset[str]:
    """Return the tables and columns that get a name: ``table`` or ``table.column``."""
    return frozenset(name for each in statements for name in _taken(each))


def columns_left(statements: Iterable[Statement]) -> frozenset[str]:
    """Return the tables and columns that are dropped."""
    return frozenset(name for each in statements for name in _left(each))


def _taken(statement: Statement) -> Iterator[str]:
    node = statement.node
    if statement.what == "create_stmt":
        yield node.create_stmt.relation.relname
    elif statement.what == "rename_stmt":
        rename = node.rename_stmt
        if rename.rename_type == ObjectType.COLUMN:
            yield f"{rename.relation.relname}.{rename.newname}"
        elif rename.rename_type == ObjectType.TABLE:
            yield rename.newname
    elif statement.what == "alter_table_stmt":
        for each in subcommands(node.alter_table_stmt):
            if each.subtype == AlterTableType.AddColumn:
                column = definition(each).column_def.colname
                yield f"{node.alter_table_stmt.relation.relname}.{column}"


def _left(statement: Statement) -> Iterator[str]:
    node = statement.node
    if statement.what == "drop_stmt" and node.drop_stmt.remove_type == ObjectType.TABLE:
        yield from (each.relname for each in dropped_relations(node.drop_stmt))
    elif statement.what == "alter_table_stmt":
        for each in subcommands(node.alter_table_stmt):
            if each.subtype == AlterTableType.DropColumn:
                yield f"{node.alter_table_stmt.relation.relname}.{each.name}"


def without_taken_names(
    found: Iterable[tuple[Judgment, Collection[str]]],
) -> Iterator[tuple[Judgment, Collection[str]]]:
    """Yield the judgments; refusals where a field takes the place of one that is removed."""
    removed: set[str] = set()
    for judgment, locked in found:
        operation = judgment.operation
        if isinstance(operation, RemoveField):
            removed |= judgment.columns_left
        takes = isinstance(operation, AddField | RenameField)
        taken = takes and not removed.isdisjoint(judgment.columns_taken)
        yield _refused(judgment) if taken else judgment, locked


def _refused(judgment: Judgment) -> Judgment:
    kind = "column" if any("." in each for each in judgment.columns_taken) else "table"
    reason = (
        "it takes the name of a field that the same migration removes: the running release would "
        f"use the new {kind} as the old one, whose values are gone. Give it another name, and "
        "remove the old one in the next release"
    )
    outcome: Outcome = "kept" if judgment.outcome == "kept" else "refused"
    if judgment.outcome == "refused":
        said = (judgment.reason or "").removesuffix(TWO_RELEASES)
        reason = f"{said} {reason[0].upper()}{reason[1:]}"
    return Judgment(
        judgment.operation,
        outcome,
        judgment.finding,
        reason,
        columns_taken=judgment.columns_taken,
    )


def passed_by(judged: Sequence[Sequence[Judgment]], order: Sequence[int]) -> dict[int, str]:
    """Return the operations that can't wait: a later one that doesn't renames their field.

    Or it takes the place of what they remove.
    """
    found: dict[int, str] = {}
    waiting: list[tuple[int, Judgment]] = []
    for index in order or range(len(judged)):
        for each in judged[index]:
            if each.waits:
                waiting.append((index, each))
            elif each.done_by is None and each.rewriting is None:
                reason = (
                    "it would wait for the next release, and another operation, which doesn't, "
                    "needs or changes the name of its field before: put that into a separate "
                    f"migration ({each.operation.describe()})"
                )
                found |= {at: reason for at, one in waiting if _is_in_its_way(each, one)}
    return found


def _is_in_its_way(other: Judgment, waiting: Judgment) -> bool:
    operation, late = other.operation, waiting.operation
    if isinstance(operation, RenameField) and isinstance(late, FieldOperation):
        names = {operation.old_name_lower, operation.new_name_lower}
        if operation.model_name_lower == late.model_name_lower and late.name_lower in names:
            return True
    return not waiting.columns_left.isdisjoint(other.columns_taken)
