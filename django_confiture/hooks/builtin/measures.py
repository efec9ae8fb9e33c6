"""What ``capture_counts`` measures of tables, and by which keys a table differs later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from psycopg import sql

from django_confiture import conf
from django_confiture.exceptions import HookVeto
from django_confiture.formatting import count
from django_confiture.hooks.builtin.options import mapping_of, texts
from django_confiture.hooks.builtin.tables import (
    PrimaryKey,
    identifier,
    primary_key,
    require_table,
    rows,
)

if TYPE_CHECKING:
    import psycopg

SHOWN = 5
"""How many keys a message names."""

_MEASURES = ("sum", "checksum")


@dataclass(frozen=True)
class TableMeasures:
    """What is measured of one table, in one pass over it."""

    table: str
    sums: tuple[str, ...] = ()
    checksum: tuple[str, ...] = ()
    """The columns whose values it covers; none: no checksum."""

    @property
    def names(self) -> list[str]:
        """How the values are called: the count as its table, the others as in SQL."""
        sums = [f"sum({self.table}.{column})" for column in self.sums]
        return [self.table, *sums, *([f"checksum({self.table})"] if self.checksum else [])]

    def renamed(self, names: Mapping[str, str]) -> TableMeasures:
        """Return the same of a table and columns that were renamed meanwhile."""
        now = {column: names.get(f"{self.table}.{column}", column) for column in self._columns}
        return replace(
            self,
            table=names.get(self.table, self.table),
            sums=tuple(now[each] for each in self.sums),
            checksum=tuple(now[each] for each in self.checksum),
        )

    def values(self, conn: psycopg.Connection[Any]) -> list[Any]:
        """Measure; the values are in the order of :attr:`names`."""
        require_table(conn, self.table)
        sums = [sql.SQL("sum({})").format(sql.Identifier(column)) for column in self.sums]
        checksum = [sql.SQL("sum({}::numeric)").format(self.row_hash())] if self.checksum else []
        query = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join([sql.SQL("count(*)"), *sums, *checksum]), identifier(self.table)
        )
        return list(rows(conn, query)[0])

    def row_hash(self) -> sql.Composable:
        """Return the SQL of a row's hash, NULL without a checksum."""
        if not self.checksum:
            return sql.SQL("NULL::bigint")
        columns = sql.SQL(", ").join(map(sql.Identifier, self.checksum))
        return sql.SQL("hashtextextended(ROW({})::text, 0)").format(columns)

    @property
    def _columns(self) -> tuple[str, ...]:
        return (*self.sums, *self.checksum)


@dataclass(frozen=True)
class KeptKeys:
    """The primary keys of a table as they were, in a temporary table."""

    relation: sql.Identifier
    shown: bool
    """Whether the keys tell nothing but which row they are of."""

    @classmethod
    def keep(
        cls, conn: psycopg.Connection[Any], measures: TableMeasures, number: int
    ) -> KeptKeys | None:
        """Copy the keys, and the rows' hashes; None where the table has no primary key."""
        key = primary_key(conn, measures.table)
        if key is None:
            return None
        relation = sql.Identifier("pg_temp", f"confiture_kept_{number}")
        conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(relation))
        query = sql.SQL("CREATE TABLE {} AS {}")
        conn.execute(query.format(relation, _keys(measures, key)))
        return cls(relation, key.may_be_shown)

    def drop(self, conn: psycopg.Connection[Any]) -> None:
        """Drop the copy."""
        conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self.relation))

    def difference(self, conn: psycopg.Connection[Any], now: TableMeasures) -> str:
        """Say which rows are gone, new and changed; ``""`` where all are as they were."""
        key = primary_key(conn, now.table)
        if key is None:
            return "it has no primary key any more"
        query = sql.SQL(
            "SELECT CASE WHEN n.key IS NULL THEN 'gone' WHEN k.key IS NULL THEN 'new'"
            " ELSE 'changed' END AS how, count(*),"
            " (array_agg(coalesce(k.key, n.key) ORDER BY length(coalesce(k.key, n.key)),"
            " coalesce(k.key, n.key)))[1:{}]"
            " FROM {} k FULL JOIN ({}) n ON n.key = k.key"
            " WHERE k.key IS NULL OR n.key IS NULL OR k.hash IS DISTINCT FROM n.hash"
            " GROUP BY how ORDER BY how DESC"
        ).format(sql.Literal(SHOWN), self.relation, _keys(now, key))
        shown = self.shown and key.may_be_shown
        return ", ".join(_row_group(*found, shown=shown) for found in rows(conn, query))


def _keys(measures: TableMeasures, key: PrimaryKey) -> sql.Composed:
    return sql.SQL("SELECT {} AS key, {} AS hash FROM {}").format(
        key.as_text(), measures.row_hash(), identifier(measures.table)
    )


def _row_group(how: str, number: int, keys: list[str], *, shown: bool) -> str:
    if not shown:
        return f"{count(number, 'row')} {how}"
    more = ", ..." if number > len(keys) else ""
    return f"{count(number, 'row')} {how} (keys {', '.join(keys)}{more})"


@dataclass(frozen=True)
class Captured:
    """What hooks of one migration captured: the values by name, and how to measure them again."""

    values: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[TableMeasures, ...] = ()
    queries: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, KeptKeys] = field(default_factory=dict)
    """By table."""

    def and_(self, other: Captured) -> Captured:
        """Return both together; a :class:`HookVeto` where they have a name in common."""
        if common := sorted(self.values.keys() & other.values.keys()):
            raise HookVeto(
                f"capture_counts captures {', '.join(map(repr, common))} twice in one migration; "
                "name each table and query in one of its entries only."
            )
        return Captured(
            {**self.values, **other.values},
            (*self.tables, *other.tables),
            {**self.queries, **other.queries},
            {**self.keys, **other.keys},
        )


def query_value(conn: psycopg.Connection[Any], name: str, query: str) -> Any:
    """Return the one value of a project's query."""
    found = rows(conn, query)
    if len(found) != 1 or len(found[0]) != 1:
        columns = count(len(found[0]), "column") if found else "no column"
        shape = f"{count(len(found), 'row')} of {columns}"
        raise HookVeto(
            f"The query {name!r} returned {shape}; write one that returns a single value, such as "
            "SELECT count(*) ... or SELECT sum(...) ..."
        )
    return found[0][0]


def table_measures(value: object, name: str) -> tuple[TableMeasures, ...]:
    """Read a list of tables to count, or a dictionary: table → ``{"sum": …, "checksum": …}``."""
    if isinstance(value, list | tuple):
        return tuple(TableMeasures(each) for each in texts(value, name))
    if not isinstance(value, Mapping):
        raise conf.SettingError(f"{name} is {value!r}", "write a list of tables, or a dictionary")
    read = mapping_of(_columns_option)(value, name)
    return tuple(
        TableMeasures(table, found.get("sum", ()), found.get("checksum", ()))
        for table, found in read.items()
    )


def _columns_option(value: object, name: str) -> dict[str, tuple[str, ...]]:
    read = mapping_of(texts)(value or {}, name)
    for key in read:
        if key not in _MEASURES:
            raise conf.SettingError(
                f"{name} has the unknown key {key!r}", 'write "sum" or "checksum" with columns'
            )
    return read
