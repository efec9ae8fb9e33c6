"""Rows that are made with the catalogs alone: no model has to know the table as it is now."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from django_confiture.dry_run.running_code.catalog import Column, ForeignKey, Table, TableCatalog

_DEEPEST = 5
"""How many foreign keys are followed to make a row."""

Row = Mapping[str, str | None]
"""Column → value as the server writes it."""


@dataclass
class _Draft:
    """A row on its way: what it gets, and what is copied."""

    values: dict[str, str | None] = field(default_factory=dict)

    def lacks_any(self, columns: tuple[str, ...]) -> bool:
        return not any(name in self.values for name in columns)


class CatalogRows:
    """Finds and creates rows; the caller undoes what it creates."""

    def __init__(
        self, run: Callable[[str], Sequence[Sequence[str | None]]], catalog: TableCatalog
    ) -> None:
        """Take as ``run`` what runs a statement; where it fails, it is as if it had not run."""
        self._run = run
        self._catalog = catalog

    def existing(self, oid: int) -> Row | None:
        """Return the first row of a table by its primary key."""
        table = self._catalog.table(oid)
        if table is None:
            return None
        order = ", ".join(f"t.{quoted(name)}" for name in table.primary_key)
        sql = f"SELECT t.* FROM {table.name} t {f'ORDER BY {order}' if order else ''} LIMIT 1"
        return self._first(table, sql)

    def with_values(self, oid: int, given: Row) -> Row | None:
        """Return a row that has some values, None if there is none."""
        table = self._catalog.table(oid)
        if table is None or not given or not table.columns.keys() >= given.keys():
            return None
        same = " AND ".join(f"t.{quoted(name)} = {literal(given[name])}" for name in given)
        return self._first(table, f"SELECT t.* FROM {table.name} t WHERE {same} LIMIT 1")

    def any_refers(self, key: ForeignKey, *, unlike: Iterable[tuple[str, str]]) -> bool:
        """Whether a row with that foreign key is there, to another row than other columns refer to.

        ``unlike`` are those columns, each with that of the other table.
        """
        table, target = self._catalog.table(key.table), self._catalog.table(key.target)
        if table is None or target is None:
            return False
        keys = zip(key.columns, key.target_columns, strict=True)
        same = " AND ".join(f"t.{quoted(one)} = r.{quoted(other)}" for one, other in keys)
        others = [f"t.{quoted(one)} IS DISTINCT FROM r.{quoted(other)}" for one, other in unlike]
        where = f" WHERE {' AND '.join(others)}" if others else ""
        sql = f"SELECT t.* FROM {table.name} t JOIN {target.name} r ON {same}{where} LIMIT 1"
        return self._first(table, sql) is not None

    def one(self, oid: int, *, depth: int = 0) -> Row | None:
        """Return a row of a table: the first one, else one that is made."""
        return self.existing(oid) or self.made(oid, depth=depth)

    def made(
        self, oid: int, given: Mapping[str, str | None] | None = None, *, depth: int = 0
    ) -> Row | None:
        """Make a row: a copy of one that is there, else of made-up values; None where neither."""
        table = self._catalog.table(oid)
        if table is None or depth > _DEEPEST:
            return None
        copied = None
        if not _needs_rows(table) or self.existing(oid) is not None:
            draft = self._draft(table, given or {}, depth, copied=True)
            copied = self._first(table, _copy(table, draft.values))
        if copied is not None:
            return copied
        draft = self._draft(table, given or {}, depth, copied=False)
        return self._first(table, _insert(table, draft.values))

    def settle(self) -> None:
        """Check the deferred constraints of the rows that were made."""
        self._run("SET CONSTRAINTS ALL IMMEDIATE")
        self._run("SET CONSTRAINTS ALL DEFERRED")

    def _first(self, table: Table, sql: str) -> Row | None:
        for row in self._run(sql):
            return dict(zip(table.columns, row, strict=True))
        return None

    def _draft(
        self, table: Table, given: Mapping[str, str | None], depth: int, *, copied: bool
    ) -> _Draft:
        draft = _Draft({name: value for name, value in given.items() if name in table.columns})
        if not copied:
            self._fill(table, draft, depth)
        for columns in _unique_sets(table):
            if draft.lacks_any(columns) or not copied:
                self._vary(table, columns, draft, given, depth)
        return draft

    def _fill(self, table: Table, draft: _Draft, depth: int) -> None:
        """Give every column a value that the server asks for."""
        for key in table.outgoing:
            needed = any(_is_needed(table.columns[name]) for name in key.columns)
            if needed and draft.lacks_any(key.columns):
                self._refer(key, draft, self.one(key.target, depth=depth + 1))
        for column in table.columns.values():
            if column.name not in draft.values and _is_needed(column):
                draft.values[column.name] = made_up(column)

    def _vary(
        self,
        table: Table,
        columns: tuple[str, ...],
        draft: _Draft,
        given: Mapping[str, str | None],
        depth: int,
    ) -> None:
        """Give one column of a unique set a value that no row has."""
        keys = {name: key for key in table.outgoing for name in key.columns}
        free = [name for name in columns if name not in given and name in table.columns]
        plain = [name for name in free if name not in keys and _can_vary(table.columns[name])]
        if plain:
            draft.values[plain[0]] = unlike_any(table.columns[plain[0]])
        elif left_out := [name for name in free if not table.columns[name].not_null]:
            draft.values[left_out[0]] = None  # which equals no other NULL
        elif referring := [name for name in free if name in keys]:
            key = keys[referring[0]]
            self._refer(key, draft, self.made(key.target, depth=depth + 1))

    def _refer(self, key: ForeignKey, draft: _Draft, row: Row | None) -> None:
        if row is not None:
            for column, target in zip(key.columns, key.target_columns, strict=True):
                draft.values[column] = row.get(target)


def quoted(name: str) -> str:
    """Return an identifier in quotes."""
    return '"' + name.replace('"', '""') + '"'


def _unique_sets(table: Table) -> Iterator[tuple[str, ...]]:
    """Yield the unique sets of columns, those that others contain first."""
    yield from sorted(table.unique, key=len)


def _is_needed(column: Column) -> bool:
    return column.not_null and not column.has_default and not column.generated


def _can_vary(column: Column) -> bool:
    return column.category in "NSDU" and not column.generated and column.label is None


def _needs_rows(table: Table) -> bool:
    """Whether a new row needs a new row of another table: a foreign key of it is unique."""
    keys = {name for key in table.outgoing for name in key.columns}
    return any(columns and keys.issuperset(columns) for columns in table.unique)


def _insert(table: Table, values: Row) -> str:
    if not values:
        return f"INSERT INTO {table.name} DEFAULT VALUES RETURNING *"
    names = ", ".join(map(quoted, values))
    given = ", ".join(map(literal, values.values()))
    return (
        f"INSERT INTO {table.name} ({names}) OVERRIDING SYSTEM VALUE VALUES ({given}) RETURNING *"
    )


def _copy(table: Table, values: Row) -> str:
    columns = [each for each in table.columns.values() if not each.generated]
    names = ", ".join(quoted(each.name) for each in columns)
    given = ", ".join(
        f"{literal(values[each.name])}::{each.type}"
        if each.name in values
        else f"t.{quoted(each.name)}"
        for each in columns
    )
    order = ", ".join(f"t.{quoted(name)}" for name in table.primary_key)
    return (
        f"INSERT INTO {table.name} ({names}) OVERRIDING SYSTEM VALUE SELECT {given}"
        f" FROM {table.name} t {f'ORDER BY {order}' if order else ''} LIMIT 1 RETURNING *"
    )


def literal(value: str | None) -> str:
    """Return a value as a literal, whatever ``standard_conforming_strings`` is."""
    if value is None:
        return "NULL"
    escaped = value.replace("'", "''")
    return f"'{escaped}'" if "\\" not in value else "E'" + escaped.replace("\\", "\\\\") + "'"


def made_up(column: Column) -> str | None:
    """Return a value for a column as the server reads it, None where none is known."""
    if column.label is not None:
        return column.label
    if column.base in _BY_NAME:
        return _BY_NAME[column.base]
    return _BY_CATEGORY.get(column.category)


_BY_NAME = {
    "uuid": "00000000-0000-0000-0000-000000000001",
    "json": "{}",
    "jsonb": "{}",
    "bytea": "x",
    "xml": "<x/>",
    "macaddr": "08:00:2b:01:02:03",
    "time": "00:00",
    "timetz": "00:00+00",
    "bit": "0",
}
_BY_CATEGORY = {
    "A": "{}",
    "B": "true",
    "D": "2001-02-03",
    "I": "127.0.0.1",
    "N": "1",
    "R": "empty",
    "S": "x",
    "T": "1 day",
    "U": "",
    "V": "0",
}


def unlike_any(column: Column) -> str:
    """Return a value for a column that no row is likely to have."""
    number = uuid.uuid4().int
    if column.category == "N":
        limit = {"int2": 2**15, "int4": 2**31, "numeric": 2**15}.get(column.base, 2**53)
        return str(limit - 1 - number % (limit // 4))
    if column.category == "S":
        length = column.length - 4 if column.length > 4 else 32
        return format(number, "032x")[:length]
    if column.category == "D":
        year, day = 1000 + number % 900, 1 + number // 900 % 28
        return f"{year}-02-{day:02}"
    return str(uuid.uuid4())
