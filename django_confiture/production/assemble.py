"""Joins the results of the queries: tables with their indexes, parents with their leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from django_confiture.production.stats import IndexStats, TableStats

_KINDS = {"r": "table", "p": "partitioned", "m": "materialized view"}

Rates = Mapping[int, tuple[float | None, float | None]]


@dataclass(frozen=True)
class Look:
    """The rows that the queries returned."""

    relations: Sequence[Sequence[Any]]
    indexes: Sequence[Sequence[Any]]
    inherits: Sequence[Sequence[Any]]
    upkeep: Mapping[int, Sequence[Any]]
    standby: bool


class _Relation(NamedTuple):
    oid: int
    schema: str
    name: str
    kind: str
    visible: bool
    rows: float
    toast: int
    partition: bool
    bytes: int


class _Index(NamedTuple):
    oid: int
    table: int
    method: str
    unique: bool
    partial: bool
    valid: bool
    keys: Sequence[str | None]


def assemble(look: Look, rates: Rates) -> dict[str, TableStats]:
    """Return the tables by the names that reports use."""
    return _Assembly(look, rates).tables()


class _Assembly:
    def __init__(self, look: Look, rates: Rates) -> None:
        self._look = look
        self._rates = rates
        self._relations = {row[0]: _Relation(*row) for row in look.relations}
        self._children: dict[int, list[int]] = {}
        for parent, child in look.inherits:
            if child in self._relations:
                self._children.setdefault(parent, []).append(child)
        self._indexes: dict[int, list[_Index]] = {}
        known = (each for each in map(_Index._make, look.indexes) if each.oid in self._relations)
        for index in sorted(known, key=lambda each: self._relations[each.oid].name):
            self._indexes.setdefault(index.table, []).append(index)
        self._names = self._name_all()

    def tables(self) -> dict[str, TableStats]:
        """Return the tables that have rows, then the parents with the sums of their leaves."""
        own = {
            oid: self._table(relation)
            for oid, relation in self._relations.items()
            if relation.kind in ("r", "m")
        }
        every = {
            oid: own[oid] if oid in own else self._parent(self._relations[oid], own)
            for oid in self._names
        }
        return {stats.relation: stats for stats in every.values()}

    def _name_all(self) -> dict[int, str]:
        """Name each relation uniquely: a visible name may equal another relation's full name."""
        tables = [each for each in self._relations.values() if each.kind in _KINDS]
        names: dict[str, int] = {}
        for each in sorted(tables, key=lambda each: not each.visible):
            name = each.name if each.visible else f"{each.schema}.{each.name}"
            while name in names:
                name = f'"{each.schema}"."{each.name}"' if '"' not in name else f"{name}'"
            names[name] = each.oid
        by_oid = {oid: name for name, oid in names.items()}
        return {oid: by_oid[oid] for oid in self._relations if oid in by_oid}

    def _table(self, relation: _Relation) -> TableStats:
        live, dead, changed, analyzed, vacuumed = self._look.upkeep.get(relation.oid, [None] * 5)
        indexes = tuple(self._of_table(relation.oid))
        toast = self._toast(relation.toast)
        index_bytes = sum(each.bytes for each in indexes)
        rows = _row_count(relation)
        read, written = self._rates.get(relation.oid, (None, None))
        through = [
            self._rates.get(each.oid, (None, None))[0]
            for each in self._indexes.get(relation.oid, [])
        ]
        return TableStats(
            relation=self._names[relation.oid],
            schema=relation.schema,
            kind=_KINDS[relation.kind],
            rows=rows,
            analyzed=relation.rows >= 0,
            live_rows=live,
            dead_rows=dead,
            changed_rows=changed,
            heap_bytes=relation.bytes,
            toast_bytes=toast,
            index_bytes=index_bytes,
            total_bytes=relation.bytes + toast + index_bytes,
            row_bytes=_row_bytes(relation.bytes, rows),
            analyzed_seconds_ago=analyzed,
            vacuumed_seconds_ago=vacuumed,
            reads_per_second=_total([read, *through]),
            writes_per_second=None if self._look.standby else written,
            indexes=indexes,
        )

    def _parent(self, relation: _Relation, own: Mapping[int, TableStats]) -> TableStats:
        leaves = [own[oid] for oid in self._leaves(relation.oid) if oid in own]

        def total(of: Callable[[TableStats], Any]) -> Any:
            return _total([of(leaf) for leaf in leaves])

        rows, heap = total(lambda leaf: leaf.rows), total(lambda leaf: leaf.heap_bytes)
        return TableStats(
            relation=self._names[relation.oid],
            schema=relation.schema,
            kind=_KINDS[relation.kind],
            rows=rows,
            analyzed=all(leaf.analyzed for leaf in leaves),
            live_rows=total(lambda leaf: leaf.live_rows),
            dead_rows=total(lambda leaf: leaf.dead_rows),
            changed_rows=total(lambda leaf: leaf.changed_rows),
            heap_bytes=heap,
            toast_bytes=total(lambda leaf: leaf.toast_bytes),
            index_bytes=total(lambda leaf: leaf.index_bytes),
            total_bytes=total(lambda leaf: leaf.total_bytes),
            row_bytes=_row_bytes(heap, rows),
            analyzed_seconds_ago=_longest(leaf.analyzed_seconds_ago for leaf in leaves),
            vacuumed_seconds_ago=_longest(leaf.vacuumed_seconds_ago for leaf in leaves),
            reads_per_second=total(lambda leaf: leaf.reads_per_second),
            writes_per_second=total(lambda leaf: leaf.writes_per_second),
            partitions=tuple(leaf.relation for leaf in leaves),
            indexes=tuple(self._of_parent(relation.oid)),
        )

    def _of_table(self, table: int) -> Iterator[IndexStats]:
        for index in self._indexes.get(table, []):
            relation = self._relations[index.oid]
            yield IndexStats(
                name=relation.name,
                method=index.method,
                bytes=relation.bytes,
                unique=index.unique,
                partial=index.partial,
                columns=tuple(key for key in index.keys if key is not None),
                expression=None in index.keys,
                valid=index.valid,
            )

    def _of_parent(self, table: int) -> Iterator[IndexStats]:
        """Yield a partitioned table's indexes with the bytes of their parts."""
        oids = [index.oid for index in self._indexes.get(table, [])]
        for oid, stats in zip(oids, self._of_table(table), strict=True):
            parts = sum(self._relations[leaf].bytes for leaf in self._leaves(oid))
            yield replace(stats, bytes=parts)

    def _leaves(self, oid: int) -> Iterator[int]:
        for child in self._children.get(oid, []):
            if self._relations[child].kind in ("p", "I"):
                yield from self._leaves(child)
            else:
                yield child

    def _toast(self, oid: int) -> int:
        """Return the bytes of a TOAST table with its index."""
        if oid not in self._relations:
            return 0
        indexes = self._indexes.get(oid, [])
        return self._relations[oid].bytes + sum(self._relations[i.oid].bytes for i in indexes)


def _row_count(relation: _Relation) -> int | None:
    if relation.bytes == 0:
        return 0
    return None if relation.rows < 0 else round(relation.rows)


def _row_bytes(heap: int, rows: int | None) -> float | None:
    return heap / rows if rows else None


def _total(values: Sequence[Any]) -> Any:
    """Return the sum; None if a part of it is unknown."""
    return None if any(value is None for value in values) else sum(values)


def _longest(values: Iterable[float | None]) -> float | None:
    """Return the longest time; None if it never happened to one of them."""
    known = list(values)
    return None if None in known or not known else max(filter(None, known), default=0.0)
