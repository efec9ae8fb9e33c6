"""The rows that a release deletes together with a row, and those that refer to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from functools import cached_property
from typing import Any

from django.db.models import CASCADE, PROTECT, RESTRICT, Model

from django_confiture.dry_run.running_code.catalog.catalog_rows import CatalogRows
from django_confiture.dry_run.running_code.catalog.known_rows import Row
from django_confiture.dry_run.running_code.catalog.table import ForeignKey, Table
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.models.generic_relations import generic_targets
from django_confiture.dry_run.running_code.models.ordering import tables_of_order
from django_confiture.dry_run.running_code.models.release import Release, tables_of
from django_confiture.dry_run.running_code.models.same_models import Sent

_DEEPEST = 4
"""How many levels of dependent rows are created below a deleted one."""

Models = Collection[type[Model]]

Link = tuple[int, str, str]
"""A child's table, its column that leads to its parent, and the parent's column."""


class Dependents:
    """The rows that a deletion comes to, of the models that matter."""

    def __init__(
        self,
        model: type[Model],
        release: Release,
        relevant: Models,
        catalog: TableCatalog,
        rows: CatalogRows,
    ) -> None:
        self._model = model
        self._release = release
        self._relevant = relevant
        self._catalog = catalog
        self._rows = rows

    @cached_property
    def exist(self) -> bool:
        """Whether the release knows of rows that go with one of this model."""
        generic = next(generic_targets(self._model), None)
        return bool(self._release.dependents(self._model)) or generic is not None

    def make(self, row: Row, key: ForeignKey | None = None) -> None:
        """Make rows that go with a row; where ``key`` leads to one of them, one that refers."""
        self._descend(self._model, row, key, _DEEPEST, {self._model})

    def _descend(
        self,
        model: type[Model],
        row: Row,
        key: ForeignKey | None,
        left: int,
        seen: set[type[Model]],
    ) -> None:
        row = {**_keys_of_parents(model, row), **row}
        if key is not None and key.target in map(self._catalog.oid_of, tables_of(model)):
            columns = zip(key.columns, key.target_columns, strict=True)
            self._rows.made(key.table, {column: row.get(target) for column, target in columns})
        for child, field in self._relevant_of(model) if left else ():
            remote: Any = field.remote_field
            oid = self._catalog.oid_of(child._meta.db_table)
            cascades = remote.on_delete is CASCADE
            needed = not cascades or self._is_read(child) or (key and key.target == oid)
            if child in seen or not needed:
                continue
            seen.add(child)
            value = row.get(remote.model._meta.get_field(remote.field_name).column)
            if oid is None or value is None:
                continue
            made = self._rows.made(oid, {str(field.column): value})
            if made is not None and cascades:
                self._descend(child, made, key, left - 1, seen)

    def _is_read(self, model: type[Model]) -> bool:
        """Whether a deletion reads the rows of a model: to ask for those below, or for a parent's.

        Others are deleted unread: only a trigger or rule makes a difference to them. Those whose
        foreign key is set to something else are written, which a NOT NULL can refuse.
        """
        below = any(child in self._relevant for child, _ in self._release.dependents(model))
        return below or bool(model._meta.parents) or self._guards(model._meta.db_table)

    @property
    def guarded(self) -> bool:
        """Whether a trigger or rule acts where rows are deleted."""
        return any(map(self._guards, self.reached))

    @property
    def are_there(self) -> bool:
        """Whether every table that a deletion comes to is there."""
        return all(self._catalog.oid_of(name) is not None for name in self.reached)

    @property
    def differ(self) -> bool:
        """Whether rows that are there may fare otherwise than one that is made.

        They are in other partitions, or row-level security may hide those that refer to them.
        """
        own = self._model._meta.db_table
        tables = {name: self._table(name) for name in self.reached}
        return any(
            table.has_parts or (table.hides_rows and name != own)
            for name, table in tables.items()
            if table is not None
        )

    def _guards(self, name: str) -> bool:
        table = self._table(name)
        return table is not None and "delete" in table.guarded

    def _table(self, name: str) -> Table | None:
        oid = self._catalog.oid_of(name)
        return self._catalog.table(oid) if oid is not None else None

    @cached_property
    def models(self) -> tuple[type[Model], ...]:
        """The model and those whose rows a deletion takes with it."""
        found = {self._model: None}
        waiting = [self._model]
        while waiting:
            for child, field in self._relevant_of(waiting.pop()):
                if child not in found and field.remote_field.on_delete is CASCADE:
                    found[child] = None
                    waiting.append(child)
        return tuple(found)

    def _relevant_of(self, model: type[Model]) -> Iterator[tuple[type[Model], Any]]:
        """Yield the models that matter, with their foreign key, whose rows go with a model's."""
        for child, field in self._release.dependents(model):
            if child in self._relevant and field.remote_field.on_delete not in (PROTECT, RESTRICT):
                yield child, field

    @cached_property
    def reached(self) -> frozenset[str]:
        """The tables that a deletion reads or writes."""
        return self._emptied.union(model._meta.db_table for model in self._reached)

    @cached_property
    def _emptied(self) -> frozenset[str]:
        """The tables whose rows a deletion takes away: with a child's row goes its parent's."""
        return frozenset(name for model in self.models for name in tables_of(model))

    @cached_property
    def _reached(self) -> Set[type[Model]]:
        found = set(self.models)
        found |= {child for model in [*found] for child, _ in self._release.dependents(model)}
        return found | {target for model in [*found] for target in generic_targets(model)}

    def sent_about_rows(self) -> Sent:
        """Return what decides which statements are sent that select, insert and update rows."""
        tables = {*tables_of(self._model), *tables_of_order(self._model)}
        models = [each for each in self._release.models if each._meta.db_table in tables]
        return tuple(
            map(self._release.sent_about, sorted(models, key=lambda each: each._meta.label))
        )

    def sent(self) -> Sent:
        """Return what decides which statements are sent that delete a row, and what hangs on it."""
        reached = {each._meta.label: self._sent_below(each) for each in self._reached}
        return self.sent_about_rows(), *(reached[label] for label in sorted(reached))

    def _sent_below(self, model: type[Model]) -> Sent:
        below = [
            (child._meta.label, field.name, child in self._relevant)
            for child, field in self._release.dependents(model)
        ]
        return self._release.sent_about(model), sorted(below)

    def unknown_references(self) -> Iterator[ForeignKey]:
        """Yield the foreign keys that lead to such rows and are not the release's."""
        for name in self._emptied:
            table = self._table(name)
            for key in table.incoming if table is not None else ():
                if key.action in "ar" and not looks_after(self._release, self._catalog, key):
                    yield key

    def ways_from(self, key: ForeignKey) -> Iterator[Sequence[Link]]:
        """Yield how rows that ``key`` refers to are those of children that a deletion deletes.

        None at all leads from a row of such a model itself.
        """
        for model in self.models:
            yield from self._ways(model, key.target)

    def _ways(self, model: type[Model], oid: int) -> Iterator[Sequence[Link]]:
        own = self._catalog.oid_of(model._meta.db_table)
        if own == oid:
            yield ()
        for parent, column, target in _links(model) if own is not None else ():
            for way in self._ways(parent, oid):
                yield (*way, (own or 0, column, target))

    def refusing(self, failure: Failure) -> Iterator[ForeignKey]:
        """Yield the foreign key that fails, if the release does not know of it."""
        if failure.sqlstate == "23503":
            for key in self.unknown_references():
                if key.name == failure.constraint:
                    yield key


def _links(model: type[Model]) -> Iterator[tuple[type[Model], str, str]]:
    """Yield the direct parents of a model, its column that leads there, and theirs."""
    links: Mapping[type[Model], Any] = model._meta.parents
    for parent, link in links.items():
        if link in model._meta.local_fields:
            yield parent, str(link.column), str(link.target_field.column)


def _keys_of_parents(model: type[Model], row: Row) -> dict[str, str | None]:
    """Return what a child's row says of its parents' rows: their keys, by the parents' columns."""
    found: dict[str, str | None] = {}
    for parent, column, target in _links(model):
        above = {target: row.get(column)}
        found |= above | _keys_of_parents(parent, above)
    return found


def looks_after(release: Release, catalog: TableCatalog, key: ForeignKey) -> bool:
    """Return whether a deletion by the ORM of a release takes care of the rows with ``key``."""
    return any(
        catalog.oid_of(each.model._meta.db_table) == key.table
        and catalog.oid_of(each.related_model._meta.db_table) == key.target
        and each.target_field.column == key.target_columns[0]
        for each in release.references_by_column.get(key.columns[0], ())
    )


def cascading(
    release: Release, catalog: TableCatalog, key: ForeignKey
) -> Iterator[tuple[str, str]]:
    """Yield the columns by which a release deletes rows along with what ``key`` leads to.

    Each with the column of the other table that it refers to.
    """
    for fields in release.references_by_column.values():
        for each in fields:
            tables = each.model._meta.db_table, each.related_model._meta.db_table
            if each.remote_field.on_delete is CASCADE and (key.table, key.target) == tuple(
                map(catalog.oid_of, tables)
            ):
                yield str(each.column), str(each.target_field.column)
