"""New columns whose rows all have the one value that a function returned, each meant to be its own.

Django calls a field's default once when it adds the column. For a time that is what its authors
want; for a UUID, a token or a random number it is not. Which it is, is told by what the function
calls: it is not called here, as it may do anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import replace
from dis import get_instructions
from functools import partial
from inspect import ismodule, unwrap
from types import CodeType
from typing import TYPE_CHECKING, Any

import psycopg
from django.db.migrations import AddField, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.findings.subject import JudgedStatement, SharedValue
from django_confiture.dry_run.sql.parsing.building import expression_sql
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ConstrType
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import (
    constraints_of_column,
    definition,
    names_shown,
    quoted_relation,
    subcommands,
)

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session

_MODULES = frozenset({"secrets", "random", "shortuuid", "nanoid", "ulid", "cuid", "cuid2", "ksuid"})
_UUIDS = frozenset({"uuid1", "uuid4", "uuid6", "uuid7", "uuid8"})
_FUNCTIONS = frozenset({"get_random_string", "get_random_secret_key", "urandom"})
_DEEPEST = 4
"""How many functions of the project may lie between."""
_LOOKED_AT = 100
"""Rows."""


def with_rows(session: Session, found: SharedValue) -> SharedValue:
    """Return it with the number of rows that have the value now, of those that are looked at.

    A column that is gone has none.
    """
    try:
        with session.undone():
            ((shared, looked_at),) = session.query(found.query)
    except psycopg.Error:
        return replace(found, rows=0)
    rows = int(shared or 0)
    return replace(found, rows=rows if rows > 1 or shared == looked_at else 0)


def shared_values(step: JudgedStatement) -> Iterator[SharedValue]:
    """Yield the columns that a statement adds with one value of such a function."""
    if step.statement.what != "alter_table_stmt" or step.django is None:
        return
    # A statement that failed has no locks to tell it by.
    names = (step.names.get(each, each) for each in names_shown(step.node.relation))
    relation = next((each for each in names if each in step.kinds), None)
    for each in subcommands(step.node):
        if relation is None or each.subtype != AlterTableType.AddColumn:
            continue
        column = definition(each).column_def
        given = constraints_of_column(column)
        function = _default_of(step.django, column.colname)
        if ConstrType.DEFAULT in given and function is not None and returns_its_own(function):
            name = quote_identifier(column.colname)
            value = expression_sql(given[ConstrType.DEFAULT].raw_expr)
            query = (
                f"SELECT count(*) FILTER (WHERE {name}::text = ({value})::text), count(*) FROM"
                f" (SELECT {name} FROM {quoted_relation(step.node.relation)} LIMIT {_LOOKED_AT}) r"
            )
            unique = ConstrType.UNIQUE in given
            yield SharedValue(
                step.id, relation, column.colname, _qualified_name(function), query, unique=unique
            )


def _added_field(operation: Operation, column: str) -> Any:
    """Return the field that an operation adds as a column; None where it does not."""
    if isinstance(operation, SeparateDatabaseAndState):
        found = (_added_field(each, column) for each in operation.database_operations)
        return next((each for each in found if each is not None), None)
    if not isinstance(operation, AddField):
        return None
    field: Any = operation.field
    return field if column in (field.db_column, operation.name) else None


def _default_of(operation: Operation, column: str) -> Callable[[], object] | None:
    field = _added_field(operation, column)
    if field is None or field.has_db_default() or not callable(field.default):
        return None
    default: Callable[[], object] = field.default
    return default


def returns_its_own(function: object, depth: int = 0) -> bool:
    """Return whether a function makes up another value each time, as far as its code tells."""
    if isinstance(function, partial):
        return returns_its_own(function.func, depth)
    function = unwrap(function) if callable(function) else function
    own_name = {getattr(function, "__name__", "")}
    for each in (function, type(getattr(function, "__self__", None))):
        if _makes_up(getattr(each, "__module__", None) or "", own_name):
            return True
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or depth == _DEEPEST:
        return False
    names = {*code.co_names}
    if any(_makes_up(each, names) for each in _modules_imported_in(code)):
        return True
    known = getattr(function, "__globals__", {})
    used = (known.get(each) for each in _globals_of(code))
    return any(
        _makes_up(each.__name__, names) if ismodule(each) else returns_its_own(each, depth + 1)
        for each in used
        if callable(each) or ismodule(each)
    )


def _makes_up(module: str, names: Set[str]) -> bool:
    """Return whether something of a module, under one of these names, is another each time."""
    root = module.partition(".")[0]
    if root == "uuid":
        return not names.isdisjoint(_UUIDS)
    return root in _MODULES or not names.isdisjoint(_FUNCTIONS)


def _globals_of(code: CodeType) -> Iterator[str]:
    return (str(each.argval) for each in get_instructions(code) if each.opname == "LOAD_GLOBAL")


def _modules_imported_in(code: CodeType) -> Iterator[str]:
    return (str(each.argval) for each in get_instructions(code) if each.opname == "IMPORT_NAME")


def _qualified_name(function: object) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
