"""A table that was altered after it was made, as the one CREATE TABLE that makes the same.

Only what has no other effect than that is folded in: a column that is added, its default, its NOT
NULL, and its type where nothing but plain indexes depends on the column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django_confiture.dry_run.sql.parsing.building import copied, statement_sql
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ConstrType
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    column_def,
    constraints_of_column,
    definition,
    node_field,
    strings,
    subcommands,
    type_name,
)
from django_confiture.dry_run.sql.parsing.parser import Statement, parse

_PLAIN = (ConstrType.NULL, ConstrType.NOTNULL, ConstrType.DEFAULT)


class _NotFoldedError(Exception):
    """Only PostgreSQL can tell what the statements make."""


def folded(statements: Iterable[str]) -> Sequence[str] | None:
    """Return the statements that make the same table, it first; None where that can't be told.

    They are given in the order in which they were sent. Columns may come in another order.
    """
    try:
        return _table(statements).statements()
    except _NotFoldedError:
        return None


def _table(texts: Iterable[str]) -> _Table:
    parsed = [statement for text in texts for statement in parse(text, placeholders=False)]
    if not parsed or parsed[0].what != "create_stmt":
        raise _NotFoldedError
    table = _Table(parsed[0].node.create_stmt)
    for statement in parsed[1:]:
        table.then(statement)
    return table


class _Table:
    """A table while its statements are folded."""

    def __init__(self, create: Node) -> None:
        self._create = copied(create)
        elements = [copied(each) for each in create.table_elts]
        del self._create.table_elts[:]
        self._columns = {
            each.column_def.colname: each.column_def
            for each in elements
            if node_field(each) == "column_def"
        }
        self._others = [each for each in elements if node_field(each) != "column_def"]
        for column in self._columns.values():
            _say_nothing_twice(column)
        self._after: list[Statement] = []
        self._defaults: set[str] = set()
        """The columns whose default was not in their definition."""

    def then(self, statement: Statement) -> None:
        """Add a later statement."""
        if statement.what == "alter_table_stmt":
            commands = list(subcommands(statement.node.alter_table_stmt))
            if all(each.subtype in _FOLDED for each in commands):
                for each in commands:
                    _FOLDED[each.subtype](self, each)
                return
        self._after.append(statement)

    def statements(self) -> Sequence[str]:
        """Return what makes it as it is now, the table first."""
        if self._defaults:
            raise _NotFoldedError
        create = copied(self._create)
        for name in sorted(self._columns):
            create.table_elts.add().column_def.CopyFrom(self._columns[name])
        create.table_elts.extend(self._others)
        return [statement_sql(create), *sorted(each.sql for each in self._after)]

    def add_column(self, command: Node) -> None:
        """Add a column that only has a type, a default, NOT NULL."""
        column = column_def(command)
        if column is None or command.missing_ok or not _is_plain(column):
            raise _NotFoldedError
        self._columns[column.colname] = added = copied(column)
        _say_nothing_twice(added)

    def alter_default(self, command: Node) -> None:
        """Take its default from a column, or give it another for as long as it is needed."""
        self._without(command.name, ConstrType.DEFAULT)
        self._defaults.discard(command.name)
        if node_field(definition(command)):
            self._defaults.add(command.name)

    def set_not_null(self, command: Node) -> None:
        """Make a column NOT NULL, as if it had been made so."""
        column = self._without(command.name, ConstrType.NOTNULL)
        added = column.constraints.add().constraint
        added.contype = ConstrType.NOTNULL
        added.is_enforced = added.initially_valid = True
        _say_nothing_twice(column)

    def drop_not_null(self, command: Node) -> None:
        """Let a column be NULL."""
        self._without(command.name, ConstrType.NOTNULL)

    def alter_type(self, command: Node) -> None:
        """Change the type of a column on which nothing but plain indexes depends."""
        column, new = self._column(command.name), column_def(command)
        if new is None or new.HasField("coll_clause") or not _is_plain(column):
            raise _NotFoldedError
        depends = ConstrType.DEFAULT in constraints_of_column(column) or self._defaults
        if depends or self._others or not all(_outlives(e, command.name) for e in self._after):
            raise _NotFoldedError
        column.type_name.CopyFrom(new.type_name)

    def _without(self, name: str, kind: ConstrType) -> Node:
        column = self._column(name)
        kept = [each for each in column.constraints if each.constraint.contype != kind]
        named = any(each.constraint.conname for each in column.constraints)
        if named or not _is_plain(column):
            raise _NotFoldedError
        kept = [copied(each) for each in kept]
        del column.constraints[:]
        column.constraints.extend(kept)
        return column

    def _column(self, name: str) -> Node:
        if name not in self._columns:
            raise _NotFoldedError
        return self._columns[name]


_FOLDED = {
    AlterTableType.AddColumn: _Table.add_column,
    AlterTableType.ColumnDefault: _Table.alter_default,
    AlterTableType.SetNotNull: _Table.set_not_null,
    AlterTableType.DropNotNull: _Table.drop_not_null,
    AlterTableType.AlterColumnType: _Table.alter_type,
}


def _is_plain(column: Node) -> bool:
    """Return whether a column has a type, a default, NOT NULL, and nothing else."""
    if column.HasField("coll_clause") or column.storage_name or column.compression:
        return False
    if "serial" in type_name(column):  # a default that is not written, and its sequence
        return False
    return all(kind in _PLAIN for kind in constraints_of_column(column))


def _say_nothing_twice(column: Node) -> None:
    """Leave out NULL, and have the rest in one order."""
    said = (each for each in column.constraints if each.constraint.contype != ConstrType.NULL)
    kept = [copied(each) for each in said]
    del column.constraints[:]
    column.constraints.extend(sorted(kept, key=lambda each: int(each.constraint.contype)))


def _outlives(statement: Statement, column: str) -> bool:
    """Return whether what a statement makes is the same after a column has got another type.

    That is an index of columns alone, which has no text that could change, and a foreign key of
    others.
    """
    if statement.what == "index_stmt":
        index = statement.node.index_stmt
        keys = [each.index_elem for each in (*index.index_params, *index.index_including_params)]
        return not index.HasField("where_clause") and all(each.name for each in keys)
    keys = statement.added_constraints(ConstrType.FOREIGN)
    of_column = any(column in strings(each.fk_attrs) for each in keys)
    return bool(keys) and not of_column and len(keys) == _commands(statement)


def _commands(statement: Statement) -> int:
    return len(list(subcommands(statement.node.alter_table_stmt)))
