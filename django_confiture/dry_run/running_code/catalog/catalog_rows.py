"""Rows that are made with the catalogs alone: no model has to know the table as it is now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from django_confiture.dry_run.running_code.catalog.known_rows import KnownRows, Row
from django_confiture.dry_run.running_code.catalog.made_up_values import made_up, unlike_any
from django_confiture.dry_run.running_code.catalog.row_texts import (
    copy_of,
    insert_of,
    literal,
    quoted,
)
from django_confiture.dry_run.running_code.catalog.table import ForeignKey, Table, TableColumn
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog

_DEEPEST = 5
"""How many foreign keys are followed to make a row."""

_TOGETHER = 100
"""Rows that are made in one round trip."""

Answer = Sequence[Sequence[str | None]]


@dataclass
class _Draft:
    """A row on its way: what it gets, and what is copied."""

    values: dict[str, str | None] = field(default_factory=dict)

    def lacks_any(self, columns: tuple[str, ...]) -> bool:
        return not any(name in self.values for name in columns)


class CatalogRows:
    """Finds and creates rows; the caller undoes what it creates."""

    def __init__(
        self,
        run: Callable[[str], Answer],
        run_each: Callable[[Sequence[str]], Sequence[Answer]],
        catalog: TableCatalog,
        known: KnownRows,
        small: Collection[tuple[str, str]] = (),
    ) -> None:
        """Take as ``run`` what makes rows, as ``run_each`` several statements in one round trip.

        Where one fails, it is as if none had run. ``small`` are the columns that a release knows
        as numbers of two bytes, each with its table as Django names it.
        """
        self._small = small
        self._run = run
        self._run_each = run_each
        self._catalog = catalog
        self._known = known
        self._kept: dict[int, Row] = {}
        self._keeps = self._lends = False
        self._unsent: list[tuple[Table, str]] | None = None
        """What makes rows that are to be sent together."""

    @contextmanager
    def keeping(self, oids: Sequence[int]) -> Iterator[None]:
        """Make a row of each table that whatever asks for one gets, until the block ends.

        The caller undoes them then.
        """
        try:
            if not self._kept_at_once(oids):
                self._keep(oids)
            self.settle()
            yield
        finally:
            self._kept.clear()

    def _kept_at_once(self, oids: Sequence[int]) -> bool:
        """Make the rows together; return whether the server took all of them."""
        unsent: list[tuple[Table, str]] = []
        self._unsent = unsent
        try:
            self._keep(oids)
        finally:
            self._unsent = None
        self._kept.clear()  # what the server makes of the rows is not known yet
        for at in range(0, len(unsent), _TOGETHER):
            part = unsent[at : at + _TOGETHER]
            answers = self._run_each([text for _table, text in part])
            for (table, _text), rows in zip(part, answers, strict=False):
                for row in rows:
                    self._kept.setdefault(table.oid, _row(table, row))
        return self._kept.keys() >= set(oids)

    def _keep(self, oids: Iterable[int]) -> None:
        self._keeps = True
        try:
            for oid in oids:
                if oid not in self._kept:
                    self.made(oid)
        finally:
            self._keeps = False  # what is made from now on may be undone earlier

    @contextmanager
    def lending(self) -> Iterator[None]:
        """Let what changes a row take the one that is kept: inside, it is not sent."""
        self._lends = True
        try:
            yield
        finally:
            self._lends = False

    def to_change(self, oid: int) -> Row | None:
        """Return a row to be updated: one that is there where a view takes none as it is made."""
        return self._kept.get(oid) if self._lends else self.made(oid) or self.existing(oid)

    def existing(self, oid: int) -> Row | None:
        """Return the first row of a table by its primary key, or one that is kept."""
        table = self._catalog.table(oid)
        if table is None:
            return None
        if oid in self._kept:
            return self._kept[oid]
        return (None if table.is_empty else self._first(table)) or self._known.made.get(oid)

    def _first(self, table: Table) -> Row | None:
        known = self._known.first
        if table.oid not in known:
            order = ", ".join(f"t.{quoted(name)}" for name in table.primary_key)
            by = f" ORDER BY {order}" if order else ""
            known[table.oid] = self._first_row(table, f"SELECT t.* FROM {table.name} t{by} LIMIT 1")
        return known[table.oid]

    def with_values(self, oid: int, given: Row) -> Row | None:
        """Return a row that has some values, None if there is none."""
        table = self._catalog.table(oid)
        if table is None or not given or not table.columns.keys() >= given.keys():
            return None
        same = " AND ".join(f"t.{quoted(name)} = {literal(given[name])}" for name in given)
        return self._first_row(table, f"SELECT t.* FROM {table.name} t WHERE {same} LIMIT 1")

    def any_refers(
        self,
        key: ForeignKey,
        *,
        unlike: Iterable[tuple[str, str]] = (),
        children: Iterable[tuple[int, str, str]] = (),
    ) -> bool:
        """Whether a row with that foreign key is there, to another row than other columns refer to.

        ``unlike`` are those columns, each with that of the other table. With ``children``, tables
        with the columns of a child and its parent, only rows count that these have, too. Where it
        is not found out in time, one may be there.
        """
        table, target = self._catalog.table(key.table), self._catalog.table(key.target)
        if table is None or target is None:
            return False
        keys = zip(key.columns, key.target_columns, strict=True)
        same = " AND ".join(f"t.{quoted(one)} = r.{quoted(other)}" for one, other in keys)
        others = [f"t.{quoted(one)} IS DISTINCT FROM r.{quoted(other)}" for one, other in unlike]
        where = f" WHERE {' AND '.join(others)}" if others else ""
        joined, above = f"{table.name} t JOIN {target.name} r ON {same}", "r"
        for number, (oid, column, of_parent) in enumerate(children):
            child, name = self._catalog.table(oid), f"c{number}"
            if child is not None:
                on = f"{name}.{quoted(column)} = {above}.{quoted(of_parent)}"
                joined, above = f"{joined} JOIN {child.name} {name} ON {on}", name
        sql = f"SELECT EXISTS (SELECT FROM {joined}{where})"
        return list(map(tuple, self._answer(sql))) != [("f",)]

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
        row = None
        if self.existing(oid) is not None:
            draft = self._draft(table, given or {}, depth, copied=True)
            row = self._made(table, copy_of(table, draft.values))
        if row is None:
            draft = self._draft(table, given or {}, depth, copied=False)
            row = self._inserted(table, draft.values)
        if row is not None:
            made = self._kept if self._keeps else self._known.made
            made.setdefault(oid, row)
        return row

    def _inserted(self, table: Table, values: Row) -> Row | None:
        if self._unsent is None:
            return self._made(table, insert_of(table, values))
        self._unsent.append((table, insert_of(table, values)))
        return {name: values.get(name) for name in table.columns}

    def settle(self) -> None:
        """Check the deferred constraints of the rows that were made."""
        self._run("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")

    def _made(self, table: Table, sql: str) -> Row | None:
        return next((_row(table, row) for row in self._run(sql)), None)

    def _first_row(self, table: Table, sql: str) -> Row | None:
        return next((_row(table, row) for row in self._answer(sql)), None)

    def _answer(self, sql: str) -> Answer:
        """Return what is read, which a script of what the release does has no need of."""
        return next(iter(self._run_each([sql])), [])

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
            small = self._is_small(table, plain[0])
            number = self._known.numbers.next(f"{self._keeps} {table.name} {plain[0]}")
            draft.values[plain[0]] = unlike_any(table.columns[plain[0]], number, small=small)
        elif left_out := [name for name in free if not table.columns[name].not_null]:
            draft.values[left_out[0]] = None  # which equals no other NULL
        elif referring := [name for name in free if name in keys]:
            key = keys[referring[0]]
            self._refer(key, draft, self.made(key.target, depth=depth + 1))

    def _is_small(self, table: Table, column: str) -> bool:
        names = {name for name, small in self._small if small == column}
        return any(self._catalog.oid_of(name) == table.oid for name in names)

    def _refer(self, key: ForeignKey, draft: _Draft, row: Row | None) -> None:
        if row is not None:
            for column, target in zip(key.columns, key.target_columns, strict=True):
                draft.values[column] = row.get(target)


def _row(table: Table, values: Sequence[str | None]) -> Row:
    return dict(zip(table.columns, values, strict=True))


def _unique_sets(table: Table) -> Iterator[tuple[str, ...]]:
    """Yield the unique sets of columns, those that others contain first."""
    yield from sorted(table.unique, key=len)


def _is_needed(column: TableColumn) -> bool:
    return column.not_null and not column.has_default and not column.generated


def _can_vary(column: TableColumn) -> bool:
    return column.category in "NSDU" and not column.generated and column.label is None
