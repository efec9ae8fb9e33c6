"""What a model's tables look like, as far as its probes have to know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from django.db.models import Model

from django_confiture.dry_run.running_code.catalog.table import (
    Check,
    ForeignKey,
    Table,
    UniqueIndex,
)
from django_confiture.dry_run.running_code.probes.another_row import unknown_unique
from django_confiture.dry_run.running_code.probes.other_case import folded
from django_confiture.dry_run.running_code.probes.probe import WRITES
from django_confiture.dry_run.running_code.probes.several_columns import unknown_checks


@dataclass(frozen=True)
class Shape:
    """The tables of one model at some moment."""

    types: Mapping[str, str]
    """Column → type, of all its tables."""
    keys: Mapping[str, tuple[str | None, str]]
    """Column of a primary key → its default and identity."""
    access: tuple[str, ...]
    targets: frozenset[tuple[tuple[str, ...], int, tuple[str, ...]]]
    """The release's columns of a foreign key, the table that it leads to, and the columns there."""
    guarded: frozenset[str]
    """The writes on which a trigger or rule acts."""
    hides_rows: bool
    """Whether a view or row-level security stands between the release and the rows."""
    references: Mapping[tuple[int, tuple[str, ...]], ForeignKey]
    """By table and columns: those that lead here and are not the release's."""
    referred: Mapping[tuple[int, tuple[str, ...], tuple[str, ...]], ForeignKey]
    """By table, columns and target columns: those that go by something else than a primary key."""
    checks: Mapping[object, tuple[str, Check]]
    """CHECKs for which values are made up that are not the release's, each with its table."""
    known_checks: tuple[Check, ...]
    """Every CHECK."""
    unique: Mapping[str, UniqueIndex]
    """Unique index that is not the release's → what it is."""
    defers: bool
    """Whether a unique index waits for the commit, so that no ``ON CONFLICT`` passes."""
    folded: frozenset[str]
    """The unique texts of which case makes no other ones."""

    @property
    def has_unknown(self) -> bool:
        """Whether there is anything that the release does not know of."""
        return bool(self.references or self.referred or self.checks or self.unique or self.folded)

    @property
    def makes_every_key(self) -> bool:
        """Whether the server takes no key but its own: GENERATED ALWAYS."""
        return any(identity == "a" for _default, identity in self.keys.values())

    def may_refuse_conflicts(self, before: Shape) -> bool:
        """Return whether an ``ON CONFLICT`` that passed may fail now, by an index or a rule."""
        return not before.defers and (self.defers or bool(self.guarded - before.guarded))

    @property
    def of_rows(self) -> tuple[object, ...]:
        """What a script with values in it does not show: types, defaults, rights, targets."""
        return self.types, self.keys, self.access, self.targets


def shape_of(
    model: type[Model],
    tables: Iterable[Table],
    references: Iterable[ForeignKey],
    varied: Set[str],
) -> Shape:
    """Return the shape of a model's ``tables``; ``references`` are unknown to its release."""
    tables = list(tables)
    columns = [column for table in tables for column in table.columns.values()]
    fields = model._meta.concrete_fields
    known = {each.column for each in fields}
    keys = {each.column for each in fields if each.primary_key}
    return Shape(
        types={each.name: each.type for each in columns if each.name in known},
        keys={each.name: (each.default, each.identity) for each in columns if each.name in keys},
        access=tuple(table.access for table in tables),
        targets=frozenset(
            (key.columns, key.target, key.target_columns)
            for table in tables
            for key in table.outgoing
            if known.issuperset(key.columns)
        ),
        guarded=frozenset(name for table in tables for name in table.guarded if name in WRITES),
        hides_rows=any(table.kind == "v" or table.hides_rows for table in tables),
        referred={
            (key.table, key.columns, key.target_columns): key
            for table in tables
            for key in table.incoming
            if key.target_columns != table.primary_key
        },
        checks=unknown_checks(model, tables, varied),
        known_checks=tuple(each for table in tables for each in table.checks),
        unique=unknown_unique(model, tables),
        defers=any(index.deferrable for table in tables for index in table.unique_indexes),
        folded=folded(model, tables, varied),
        references={(key.table, key.columns): key for key in references},
    )
