"""Probes: the SELECTs, INSERTs and UPDATEs that a release sends for one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import cached_property, partial
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Model, QuerySet

from django_confiture.dry_run.running_code.catalog.catalog_rows import CatalogRows
from django_confiture.dry_run.running_code.catalog.known_rows import Row
from django_confiture.dry_run.running_code.catalog.table import Check, ForeignKey
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.running_code.instances.instances import (
    Instances,
    KeyFrom,
    Variant,
    emptiable,
)
from django_confiture.dry_run.running_code.instances.parts import values_in_part
from django_confiture.dry_run.running_code.instances.unique_fields import upserts_of
from django_confiture.dry_run.running_code.instances.values import NoValueError
from django_confiture.dry_run.running_code.models.ordering import can_be_ordered
from django_confiture.dry_run.running_code.models.release import automatic_keys
from django_confiture.dry_run.running_code.probes.another_row import as_another
from django_confiture.dry_run.running_code.probes.locking import locked, may_lock
from django_confiture.dry_run.running_code.probes.new_names import with_new_names
from django_confiture.dry_run.running_code.probes.probe import Probe
from django_confiture.dry_run.running_code.probes.served_keys import NextKey

_CAPTURED = 2
"""How many rows from each end of a table are tried again after the plan."""
_NO_ROW = "did not affect any rows"
_MODEST = Variant("modest", "modest")
_MOST = Variant("most", "most")
_MADE_UP = (Variant("computed", None), _MODEST, Variant("least", "least"), _MOST)


class ModelProbes:
    """Makes the probes of one model; each of them leaves rows to be undone."""

    def __init__(
        self,
        model: type[Model],
        using: str,
        instances: Instances,
        catalog: TableCatalog,
        rows: CatalogRows,
        *,
        deletes_alone: bool,
        upserts: bool,
    ) -> None:
        self.model = model
        self.deletes_alone = deletes_alone
        self.using = using
        self._instances = instances
        self._catalog = catalog
        self._rows = rows
        self._upserts = upserts
        self.captured: list[Model] = []

    @property
    def varied(self) -> Set[str]:
        """The fields that have another value in each row."""
        return self._instances.varied

    def new(self, variant: Variant, *, key: KeyFrom = "own") -> Model:
        """Return an unsaved row."""
        return self._instances.new(variant, key=key)

    def capture(self) -> None:
        """Remember rows from both ends of the table, by primary key."""
        rows = self._all().order_by("pk")
        found = list(rows[:_CAPTURED])
        if len(found) == _CAPTURED:  # else that is all of them
            found += rows.reverse()[:_CAPTURED]
        self.captured = list({each.pk: each for each in found}.values())
        self._instances.have_read(self.captured)

    def _all(self) -> QuerySet[Model]:
        rows: QuerySet[Model] = QuerySet(self.model, using=self.using)
        return rows if can_be_ordered(self.model) else rows.order_by()

    def each(self) -> Iterator[Probe]:
        """Yield every probe."""
        variants = list(self.variants())
        yield from self.selects()
        yield from map(self.insert, variants)
        yield from self.more_inserts(variants)
        yield from self.updates(variants)

    def rows_together(self) -> None:
        """Select, insert and update in one go, in fewer statements than one by one."""
        found = self._captured_rows()
        list(locked(found) if self._locks else found)
        variants = list(self.variants())
        made = [self._instances.new(each) for each in (*variants, variants[0], _MOST)]
        self.insert_all(made)
        for names, other in upserts_of(self.model) if self._upserts else ():
            self._upsert(names, other, variants[0], "own")
        for captured in () if self.model._meta.auto_created else self.captured:
            self._save(captured)
        changes = [*zip(made[1:-1], variants, strict=True)]
        changes += [(made[-1], each) for each in with_new_names(self.model, variants)]
        for instance, variant in changes:
            if not (variant.captured or self.model._meta.auto_created):
                self._instances.fill(instance, variant)
                self._save(instance)

    # SELECT.

    def selects(self) -> Iterator[Probe]:
        """Yield how the release reads whole rows."""
        yield Probe(
            "select",
            "plain",
            lambda: list(self._captured_rows()),
            confirmed_by=lambda: list(self._all()[:1]),
        )
        if self._locks:
            yield Probe(
                "select",
                "for update",
                lambda: list(locked(self._captured_rows())),
                confirmed_by=lambda: list(locked(self._all()[:1])),
                is_optional=True,
            )

    @cached_property
    def _locks(self) -> bool:
        return may_lock(self.model, self._catalog)

    def _captured_rows(self) -> QuerySet[Model]:
        keys = [each.pk for each in self.captured]
        return self._all().filter(pk__in=keys) if keys else self._all()[:1]

    # INSERT.

    def variants(self) -> Iterator[Variant]:
        """Yield the ways to fill a row: keys are all that one of a many-to-many field has."""
        if self.model._meta.auto_created:
            yield _MADE_UP[0]
            return
        yield from _MADE_UP
        names = [each.attname for each in self.model._meta.concrete_fields if not each.is_relation]
        for number, each in enumerate(self.captured):
            captured = {name: getattr(each, name) for name in names}
            yield Variant(f"captured {number}", None, captured=captured)

    def insert(self, variant: Variant) -> Probe:
        """Return the INSERT of a row."""
        return self._probe_insert(variant.name, variant, self._insert)

    def more_inserts(self, variants: Sequence[Variant]) -> Iterator[Probe]:
        """Yield the INSERTs of two rows that differ where they have to, and upserts.

        Two with the last of their choices: a unique index may be for some rows alone.
        """
        variant, *others = variants
        for each in (variant, _MOST) if _MOST in others else (variant,):
            yield self._probe_insert(f"{each.name} twice", each, self._insert_two, optional=True)
        if self._upserts:
            yield from (probe for _names, probe in self.upserts(variant))

    def upserts(self, variant: Variant) -> Iterator[tuple[Sequence[str], Probe]]:
        """Yield each unique set of fields, and the INSERT that names it in ``ON CONFLICT``."""
        for names, other in upserts_of(self.model):
            upsert = partial(self._upsert, names, other)
            name = f"conflict on {', '.join(names)}"
            yield names, self._probe_insert(name, variant, upsert, optional=True)

    def insert_without_key(self, variant: Variant) -> Probe:
        """Return the INSERT of a row whose primary key the server makes: a sequence moves."""
        return Probe("insert", "without key", partial(self._insert, variant, "served"), variant)

    def insert_with_next_key(self, variant: Variant, key: NextKey) -> Probe:
        """Return the INSERT of a row with the key that the server would make."""
        if key.value is None:
            return self.insert_without_key(variant)
        return Probe("insert", "next key", partial(self._insert_key, variant, key.value))

    def _insert_key(self, variant: Variant, value: int) -> None:
        instance = self._instances.new(variant)
        instance.pk = value
        self.insert_all([instance])

    def _probe_insert(
        self,
        name: str,
        variant: Variant,
        insert: Callable[[Variant, KeyFrom], None],
        *,
        optional: bool = False,
    ) -> Probe:
        """Return an INSERT that makes its own key, to be confirmed by one that leaves it out."""
        served = partial(insert, variant, "served") if automatic_keys(self.model) else None
        own = partial(insert, variant, "own")
        return Probe("insert", name, own, variant, served, is_optional=optional)

    def _insert(self, variant: Variant, key: KeyFrom) -> None:
        self.insert_all([self._instances.new(variant, key=key)])

    def _insert_two(self, variant: Variant, key: KeyFrom) -> None:
        self.insert_all([self._instances.new(variant, key=key) for _time in range(2)])

    def insert_all(self, instances: Sequence[Model]) -> None:
        if self.model._meta.parents or (len(instances) == 1 and not self.model._meta.auto_created):
            for each in instances:
                Model.save_base(each, force_insert=True, using=self.using)
        else:
            through = bool(self.model._meta.auto_created)
            self._all().bulk_create(instances, ignore_conflicts=through)

    def _upsert(self, names: Sequence[str], other: str, variant: Variant, key: KeyFrom) -> None:
        self._all().bulk_create(
            [self._instances.new(variant, key=key)],
            update_conflicts=True,
            unique_fields=list(names),
            update_fields=[other],
        )

    # UPDATE.

    def updates(self, variants: Sequence[Variant]) -> Iterator[Probe]:
        """Yield how the release writes whole rows that are there."""
        if self.model._meta.auto_created:
            return
        for number, each in enumerate(self.captured):
            yield Probe("update", f"captured {number}", partial(self._save, each))
        made_up = [each for each in variants if not each.captured]
        yield from map(self.update, (*made_up, *with_new_names(self.model, made_up)))

    def emptying_one(self) -> Iterator[Probe]:
        """Yield how the release empties one column that its INSERT leaves empty."""
        for name in emptiable(self.model):
            yield self.update(Variant(f"without {name}", None, emptied=name))

    def update(self, variant: Variant) -> Probe:
        """Return the UPDATE of a row."""
        update = partial(self._update, variant)
        return Probe("update", variant.name, update, variant, preceded_by=self._need_row)

    def values_in_part(self, check: Check) -> Mapping[str, Any]:
        """Return values by attribute of the partition that alone has a CHECK."""
        table = self.model._meta.db_table
        return values_in_part(check, table, self._instances, self._catalog, self._rows)

    def insert_as_it_is(self, variant: Variant) -> Probe:
        """Return the INSERT of a row that tells something of its values alone."""
        return Probe("insert", variant.name, partial(self._insert, variant, "own"), variant)

    def of_unique(self, name: str, columns: Sequence[str]) -> Iterator[Probe]:
        """Yield the rows with values of another one that a unique index may refuse."""
        for row in as_another(self.model, self.captured, columns):
            yield Probe("update", "as another row", partial(self._save, row), constraint=name)

    def of_referred(self, key: ForeignKey) -> Probe:
        """Return the UPDATE of what a foreign key goes by, while a row refers to it."""
        update = partial(self._update_referred, key)
        return Probe("update", f"referred to by {key.name}", update, preceded_by=self._need_row)

    def _update_referred(self, key: ForeignKey) -> None:
        row = self._made_row() or {}
        columns = zip(key.columns, key.target_columns, strict=True)
        self._rows.made(key.table, {column: row.get(target) for column, target in columns})
        self._rows.settle()
        instance = self._instances.of_row(row)
        for each in self.model._meta.local_concrete_fields:
            if each.column in key.target_columns and not each.is_relation:
                setattr(instance, each.attname, self._instances.unique_value(each, "modest"))
        self._save(instance)

    def _need_row(self) -> None:
        if self._made_row() is None:
            raise NoValueError(f"a row of {self.model._meta.db_table}")

    def _update(self, variant: Variant) -> None:
        row = self._made_row()
        instance = self._instances.new(_MODEST) if row is None else self._instances.of_row(row)
        self._instances.fill(instance, variant)
        self._save(instance)

    def _save(self, instance: Model) -> None:
        """Update a row; one that is there and was not updated is inserted, as ``save()`` does."""
        try:
            Model.save_base(instance, force_update=True, using=self.using)
        except DatabaseError as error:
            if _NO_ROW not in str(error):
                raise
            transaction.set_rollback(False, using=self.using)
            if self._all().filter(pk=instance.pk).exists():
                Model.save_base(instance, using=self.using)

    def _made_row(self) -> Row | None:
        """Make a row in the model's table, and with it those of its parents."""
        oid = self._catalog.oid_of(self.model._meta.db_table)
        return None if oid is None else self._rows.to_change(oid)
