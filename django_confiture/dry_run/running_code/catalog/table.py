"""One table as the server's catalogs have it: columns, keys, references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class TableColumn:
    """A column that an INSERT may name."""

    name: str
    number: int
    type: str
    base: str
    """The type's name, of a domain that of what it is made from."""
    base_oid: int
    category: str
    length: int
    not_null: bool
    identity: str
    generated: str
    default: str | None
    label: str | None
    folds: bool
    """Whether texts that differ in case may be equal in it."""

    @property
    def has_default(self) -> bool:
        """Whether the server makes a value where an INSERT leaves the column out."""
        return bool(self.default or self.identity)


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key, of either of its tables."""

    name: str
    table: int
    target: int
    action: str
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]


@dataclass(frozen=True)
class UniqueIndex:
    """An index that lets only one row have some values, that of an exclusion included."""

    name: str
    columns: tuple[str, ...]
    """Those of its expressions and of its condition, too."""
    definition: str
    primary: bool
    deferrable: bool
    """Whether it waits for the end of a transaction: no ``ON CONFLICT`` can go by it then."""


@dataclass(frozen=True)
class Check:
    """A CHECK of a table, of one of its partitions, or of a column's domain."""

    name: str | None
    """None: a NOT NULL, which only a partition has."""
    columns: tuple[str, ...]
    expression: str | None = None
    part: int | None = None
    """The partition that alone has it."""
    bound: str | None = None
    """Which rows that partition has."""


@dataclass(frozen=True)
class Table:
    """A table, view, or partitioned table."""

    oid: int
    name: str
    """Quoted where it has to be, with its schema outside the search path."""
    kind: str
    is_empty: bool
    """Whether it has no page, and so no row."""
    guarded: frozenset[str]
    """The actions, such as "insert", on which a trigger or rule acts."""
    access: str
    """What this role may do with it, and whether row-level security is on."""
    columns: Mapping[str, TableColumn]
    unique_indexes: tuple[UniqueIndex, ...]
    foreign_keys: tuple[ForeignKey, ...]
    """Those that it has, and those that lead to it."""
    checks: tuple[Check, ...] = ()
    split_by: tuple[str, ...] = ()
    """The columns by which it is partitioned."""

    @property
    def is_view(self) -> bool:
        """Whether it is a view, of which PostgreSQL may take nothing but SELECT."""
        return self.kind in ("v", "m")

    @property
    def has_parts(self) -> bool:
        """Whether its rows are in partitions, each with constraints and triggers of its own."""
        return self.kind == "p"

    @property
    def hides_rows(self) -> bool:
        """Whether row-level security binds the owner of the table, too."""
        return self.access.startswith("t t ")

    @cached_property
    def unique(self) -> tuple[tuple[str, ...], ...]:
        """The columns of each unique index."""
        return tuple(each.columns for each in self.unique_indexes)

    @cached_property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return next((each.columns for each in self.unique_indexes if each.primary), ())

    @cached_property
    def outgoing(self) -> tuple[ForeignKey, ...]:
        """The foreign keys of this table."""
        return tuple(each for each in self.foreign_keys if each.table == self.oid)

    @cached_property
    def incoming(self) -> tuple[ForeignKey, ...]:
        """The foreign keys that lead to this table."""
        return tuple(each for each in self.foreign_keys if each.target == self.oid)


def table_of(found: Mapping[str, Any]) -> Table:
    """Return the table that the server tells of as JSON."""
    return Table(
        oid=found["oid"],
        name=found["name"],
        kind=found["kind"],
        is_empty=found["is_empty"],
        guarded=frozenset(found["guards"]),
        access=found["access"],
        columns={each["name"]: TableColumn(**each) for each in found["columns"] or ()},
        unique_indexes=tuple(
            UniqueIndex(**{**each, "columns": tuple(each["columns"] or ())})
            for each in found["unique"] or ()
        ),
        foreign_keys=tuple(_foreign_keys(found["foreign_keys"] or ())),
        checks=tuple(
            Check(**{**each, "columns": tuple(each["columns"] or ())})
            for each in found["checks"] or ()
        ),
        split_by=tuple(found["split_by"] or ()),
    )


def _foreign_keys(found: Sequence[Mapping[str, Any]]) -> Iterator[ForeignKey]:
    for each in found:
        columns = {name: tuple(each[name]) for name in ("columns", "target_columns")}
        yield ForeignKey(**{**each, **columns})
