"""Instances of a release's models, with values that the release may write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal

from django.db.models import Field, FileField, Model

from django_confiture.dry_run.running_code.catalog.catalog_rows import CatalogRows
from django_confiture.dry_run.running_code.catalog.known_rows import Row
from django_confiture.dry_run.running_code.catalog.made_up_values import made_up, unlike_any
from django_confiture.dry_run.running_code.catalog.table import TableColumn
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.running_code.instances.level import Level
from django_confiture.dry_run.running_code.instances.loaded import (
    LoadedValues,
    NotLoadedError,
    plain,
)
from django_confiture.dry_run.running_code.instances.references import References
from django_confiture.dry_run.running_code.instances.unique_fields import (
    changeable,
    is_key,
    unique_fields,
)
from django_confiture.dry_run.running_code.instances.values import (
    NoValueError,
    Values,
    is_text,
)
from django_confiture.dry_run.running_code.models.release import automatic_keys

KeyFrom = Literal["own", "served"]
"""Where the key of a row comes from: made up here, or the server, whose sequence it moves."""


@dataclass(frozen=True)
class Variant:
    """One set of values for a row."""

    name: str
    level: Level | None
    """None: what the release computes, and as little more as it needs."""
    levels: Mapping[str, Level] = field(default_factory=dict)
    """Field name → its own level."""
    captured: Mapping[str, Any] = field(default_factory=dict)
    """Attribute → value of a row that was there before the plan."""
    as_columns: bool = False
    """Whether a text is what its column reads, where that is not one of texts."""
    digits: int | None = None
    """How many digits the numbers have that are to be unique; None: any."""
    emptied: str | None = None
    """The one field that an UPDATE sets to NULL; None: all that an INSERT leaves NULL."""
    changes_unique: bool = False
    """Whether an UPDATE gives the row other unique values, too."""


class Instances:
    """Makes instances of one model on the schema as it is when asked."""

    def __init__(
        self,
        model: type[Model],
        values: Values,
        loaded: LoadedValues,
        catalog: TableCatalog,
        rows: CatalogRows,
    ) -> None:
        self._model = model
        self._values = values
        self._loaded = loaded
        self._catalog = catalog
        self._rows = rows
        self._references = References(values, loaded, catalog, rows)
        self._unique = frozenset(unique_fields(model))
        self._varying: dict[str, bool] = {}
        self._columns: dict[str, TableColumn | None] = {}
        """The columns of texts as they were first seen: each schema gets the same values."""
        self._read: Sequence[Model] = ()

    @property
    def varied(self) -> Set[str]:
        """The fields that have another value in each row."""
        return self._unique

    def have_read(self, rows: Sequence[Model]) -> None:
        """Note rows that are there: what has no limits is made up to be like their values."""
        self._read = rows

    def new(self, variant: Variant, *, key: KeyFrom = "own") -> Model:
        """Return an unsaved instance; raises :class:`NoValueError`."""
        given: dict[str, Any] = {}
        for each in self._model._meta.concrete_fields:
            if each.generated or _is_parent_link(each):
                continue
            if key == "served" and each in automatic_keys(self._model):
                continue
            self._fill(each, variant, given, varies=self._default_varies(each))
        instance = self._model(**given)
        self._link_parents(instance)
        return instance

    def _link_parents(self, instance: Model) -> None:
        """Give a child the key of the parent that it would have."""
        for parent, link in self._model._meta.parents.items():
            if link is not None:
                setattr(instance, link.attname, getattr(instance, parent._meta.pk.attname))

    def fill(self, instance: Model, variant: Variant) -> None:
        """Give an instance that stands for a row the values of a variant; its keys stay."""
        kept = self._unique.difference(changeable(self._model) if variant.changes_unique else ())
        for each in self._model._meta.concrete_fields:
            if is_key(each) or each.generated or _is_parent_link(each):
                continue
            given: dict[str, Any] = {}
            if each.name not in kept:
                self._fill(each, variant, given)
            if not given and _empties(variant, each):
                given[each.attname] = None
            for name, value in given.items():
                _set(instance, each, name, value)

    def loaded_values(self, row: Row) -> Mapping[str, Any]:
        """Return what a row has, by attribute; of keys of other rows nothing."""
        oid = self._catalog.oid_of(self._model._meta.db_table)
        return {
            each.attname: self._loaded.of(each, oid, row, str(each.column))
            for each in self._model._meta.local_concrete_fields
            if each.column in row and not (each.is_relation or each.generated)
        }

    def of_row(self, row: Row) -> Model:
        """Return the instance that a row of the model's own table would be."""
        parts = dict(self._parts(row))
        values: dict[str, Any] = {}
        for each in self._model._meta.concrete_fields:
            oid, part = parts.get(each.model, (None, {}))
            try:
                values[each.attname] = self._loaded.of(each, oid, part, str(each.column))
            except NotLoadedError:  # an UPDATE sets it to another value
                if is_key(each):
                    values[each.attname] = self.unique_value(plain(each), "modest")
        # What was read has no default: one that is computed may send queries of its own.
        instance = self._model(**values)
        for parent, link in self._model._meta.parents.items():
            if link is not None and link.column in row:
                setattr(instance, parent._meta.pk.attname, link.value_from_object(instance))
        instance._state.adding = False
        return instance

    def _parts(self, row: Row) -> Iterator[tuple[type[Model], tuple[int | None, Row]]]:
        """Yield the table of the model and of each parent, with what of the row is in it."""
        found: dict[type[Model], Row] = {self._model: row}
        yield self._model, (self._catalog.oid_of(self._model._meta.db_table), row)
        for parent in self._model._meta.get_parent_list():
            oid = self._catalog.oid_of(parent._meta.db_table)
            links = [(part, child._meta.parents.get(parent)) for child, part in found.items()]
            keys = [part.get(str(link.column)) for part, link in links if link is not None]
            given = {str(parent._meta.pk.column): key for key in keys}
            found[parent] = (oid and self._rows.with_values(oid, given)) or {}
            yield parent, (oid, found[parent])

    def _fill(
        self,
        each: Field[Any, Any],
        variant: Variant,
        given: dict[str, Any],
        *,
        varies: bool = False,
    ) -> None:
        if each.is_relation and each.remote_field is not None:
            self._refer(each, variant, given)
            return
        level = variant.levels.get(each.name, variant.level)
        unique = each.primary_key or each.name in self._unique or varies
        if each.attname in variant.captured and not unique:
            given[each.attname] = variant.captured[each.attname]
        elif level is None and _starts_empty(each):
            return
        elif unique and not _computes_unique(each):
            digits = None if each.primary_key else variant.digits
            given[each.attname] = self.unique_value(each, level or "modest", digits=digits)
        elif level is None and (each.has_default() or each.has_db_default() or each.null):
            return
        elif variant.as_columns and (text := self._as_column_reads(each)) is not None:
            given[each.attname] = text
        elif self._is_known_by_rows(each):
            given[each.attname] = getattr(self._read[0], each.attname)
        else:
            self._level(each, level or "modest", given, unique=unique)

    def _is_known_by_rows(self, each: Field[Any, Any]) -> bool:
        """Whether the rows that are there are all that tells what a field holds."""
        is_open = each.get_internal_type() == "JSONField" and not (each.choices or each.unique)
        return is_open and bool(self._read) and not each.has_default()

    def _default_varies(self, each: Field[Any, Any]) -> bool:
        """Whether its default is another one each time, as that of ``uuid4`` and of tokens.

        It may send queries of its own, and so is asked only where an INSERT would.
        """
        if not callable(each.default):
            return False
        if each.name not in self._varying:
            self._varying[each.name] = each.get_default() != each.get_default()
        return self._varying[each.name]

    def _level(
        self, each: Field[Any, Any], level: Level, given: dict[str, Any], *, unique: bool
    ) -> None:
        make = self._values.unique if unique else self._values.of
        try:
            given[each.attname] = make(each, level)
        except NoValueError:
            if not (each.null or each.has_default() or each.has_db_default()):
                given[each.attname] = self._as_read(each, made_up)

    def _as_column_reads(self, each: Field[Any, Any]) -> str | None:
        """Return what is to be written where the column of a text is not one of texts."""
        if not is_text(each) or each.choices:
            return None
        if each.name not in self._columns:
            oid = self._catalog.oid_of(each.model._meta.db_table)
            table = self._catalog.table(oid) if oid is not None else None
            self._columns[each.name] = table.columns.get(str(each.column)) if table else None
        column = self._columns[each.name]
        return None if column is None or column.category == "S" else made_up(column)

    def unique_value(
        self, each: Field[Any, Any], level: Level, *, digits: int | None = None
    ) -> Any:
        """Return a value that no row is likely to have; raises :class:`NoValueError`."""
        try:
            return self._values.unique(each, level, digits=digits)
        except NoValueError:
            number = self._values.number(each)
            return self._as_read(each, lambda column: unlike_any(column, number))

    def _as_read(self, each: Field[Any, Any], make: Callable[[TableColumn], str | None]) -> Any:
        """Return what a field of a type that is not known reads from a made-up column."""
        oid, name = self._catalog.oid_of(each.model._meta.db_table), str(each.column)
        table = self._catalog.table(oid) if oid is not None else None
        text = make(table.columns[name]) if table is not None and name in table.columns else None
        try:
            return self._loaded.of(each, oid, {} if text is None else {name: text}, name)
        except NotLoadedError as error:
            raise NoValueError(f"{type(each).__name__} {each.name}") from error

    def _refer(self, each: Any, variant: Variant, given: dict[str, Any]) -> None:
        """Let a foreign key lead to a row: one that is there, else one that is made."""
        if variant.level is None and (each.null or each.has_default()) and not each.primary_key:
            return
        unique = each.primary_key or each.unique or each.name in self._unique
        try:
            given[each.attname] = self._references.key_of(each, made=unique)
        except NotLoadedError:
            if not each.null:
                given[each.attname] = self._references.own_key_of(each)


def _set(instance: Model, field: Any, attname: str, value: Any) -> None:
    """Set an attribute; the image that a made-up name stands for is not opened to measure it."""
    if isinstance(field, FileField):
        vars(instance)[attname] = value
    else:
        setattr(instance, attname, value)


def emptiable(model: type[Model]) -> Iterator[str]:
    """Yield the fields that an INSERT of the release leaves NULL if it is not told otherwise."""
    for each in model._meta.concrete_fields:
        if _starts_empty(each):
            yield each.name


def _empties(variant: Variant, each: Field[Any, Any]) -> bool:
    if not _starts_empty(each):
        return False
    if variant.emptied is not None:
        return variant.emptied == each.name
    return variant.level is None and not variant.captured


def _starts_empty(each: Field[Any, Any]) -> bool:
    has_other = each.has_default() or each.has_db_default() or each.generated
    return bool(each.null and not (has_other or each.primary_key))


def _is_parent_link(each: Field[Any, Any]) -> bool:
    return bool(each.remote_field and getattr(each.remote_field, "parent_link", False))


def _computes_unique(each: Field[Any, Any]) -> bool:
    """Whether a release makes a new value for each row by itself."""
    return callable(each.default) if each.has_default() else each.has_db_default()
