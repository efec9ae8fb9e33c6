"""What a statement says of columns: NOT NULL, defaults, types, comments."""

from __future__ import annotations

from collections.abc import Iterator

from django_confiture.dry_run.rewriting.facts import known_name
from django_confiture.dry_run.sql.parsing.building import expression_sql, type_sql
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ObjectType
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import Node, definition, strings, subcommands
from django_confiture.dry_run.sql.parsing.parser import Statement


def not_null_by(statement: Statement) -> Iterator[tuple[str, str, bool]]:
    """Yield table and column that a statement makes NOT NULL (True) or NULL (False)."""
    subtypes = {AlterTableType.SetNotNull: True, AlterTableType.DropNotNull: False}
    for table, each in _altered(statement):
        if each.subtype in subtypes:
            yield table, each.name, subtypes[each.subtype]


def validated_by(statement: Statement) -> Iterator[tuple[str, str]]:
    """Yield table and name of each constraint that a statement validates."""
    for table, each in _altered(statement):
        if each.subtype == AlterTableType.ValidateConstraint:
            yield table, each.name


def defaults_by(statement: Statement) -> Iterator[tuple[str, str, str | None]]:
    """Yield table, column and default that a statement sets; None where it drops it."""
    for table, each in _altered(statement):
        if each.subtype == AlterTableType.ColumnDefault:
            dropped = definition(each).WhichOneof("node") is None
            yield table, each.name, None if dropped else expression_sql(definition(each))


def types_by(statement: Statement) -> Iterator[tuple[str, str, str]]:
    """Yield table, column and type that a statement gives it."""
    for table, each in _altered(statement):
        if each.subtype == AlterTableType.AlterColumnType:
            column = definition(each).column_def
            collation = ".".join(map(quote_identifier, strings(column.coll_clause.collname)))
            kind = type_sql(column.type_name)
            yield table, each.name, f"{kind} COLLATE {collation}" if collation else kind


def comment_by(statement: Statement) -> Iterator[tuple[str, str, str]]:
    """Yield table, column and comment of a COMMENT ON COLUMN; the comment is empty for NULL."""
    if statement.what != "comment_stmt":
        return
    node = statement.node.comment_stmt
    if node.objtype == ObjectType.COLUMN:
        *table, column = strings(node.object.list.items)
        yield ".".join(table), column, node.comment


def _altered(statement: Statement) -> Iterator[tuple[str, Node]]:
    if statement.what == "alter_table_stmt":
        table = known_name(statement.node.alter_table_stmt.relation)
        for each in subcommands(statement.node.alter_table_stmt):
            yield table, each
