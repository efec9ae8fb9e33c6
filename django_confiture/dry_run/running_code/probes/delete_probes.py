"""Probes: the DELETEs that a release sends for one model, and what goes with its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from django.db.models import Model, QuerySet

from django_confiture.dry_run.running_code.catalog.catalog_rows import CatalogRows
from django_confiture.dry_run.running_code.catalog.table import ForeignKey
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.running_code.instances.instances import Instances
from django_confiture.dry_run.running_code.instances.loaded import plain
from django_confiture.dry_run.running_code.probes.deletions import Dependents
from django_confiture.dry_run.running_code.probes.probe import Probe

_FIRST = 4
"""How many rows that are there are deleted, one by one, where none can be made."""


class DeleteProbes:
    """Makes the probes that delete rows of one model; each of them leaves rows to be undone."""

    def __init__(
        self,
        model: type[Model],
        using: str,
        instances: Instances,
        dependents: Dependents,
        catalog: TableCatalog,
        rows: CatalogRows,
    ) -> None:
        self.dependents = dependents
        self._model = model
        self._using = using
        self._instances = instances
        self._catalog = catalog
        self._rows = rows

    @property
    def reads_first(self) -> bool:
        """Whether a deletion selects the rows first."""
        return self.dependents.exist or bool(self._model._meta.parents)

    def each(self) -> Iterator[Probe]:
        """Yield how the release deletes a row, and what depends on it."""
        ways: dict[str, Callable[[], object]] = {
            "instance": self._delete_instance,
            "queryset": self._delete_queryset,
        }
        if self._model._meta.auto_created:
            ways = {"remove": self._delete_instance}
        for name, delete in ways.items():
            yield Probe("delete", name, delete, preceded_by=self._with_dependents)

    def of_first_rows(self) -> Iterator[Probe]:
        """Yield how the release deletes rows that are there, with what depends on them."""
        for number in range(_FIRST):
            yield Probe("delete", f"row {number}", partial(self._delete_row, number))

    def may_come_to(self, key: ForeignKey) -> bool:
        """Return whether a row that ``key`` refers to is one that a deletion can take away.

        If it is one of a parent's table, the row of a child has to go with it.
        """
        ways = list(self.dependents.ways_from(key))
        return () in ways or any(self._rows.any_refers(key, children=way) for way in ways)

    def referred(self, key: ForeignKey) -> Probe:
        """Return how the release deletes a row that a table unknown to it refers to."""
        return Probe("delete", f"referred to by {key.name}", partial(self._delete_instance, key))

    def together(self) -> None:
        """Delete in both ways, in one where that sends all that both send.

        A queryset reads its rows, and deletes them as instances; where nothing goes with them,
        neither way reads anything.
        """
        both = self.reads_first and not self._model._meta.auto_created
        if not (both and self._delete_queryset()):
            self._delete_instance()

    def _delete_instance(self, key: ForeignKey | None = None) -> None:
        row = self._with_dependents(key)
        if self._model._meta.auto_created:
            self._all().filter(**dict(self._ends(row))).delete()
        else:
            Model.delete(row, using=self._using)

    def _ends(self, row: Model) -> Iterator[tuple[str, object]]:
        """Yield the keys by which ``remove()`` of a many-to-many field finds a row."""
        for each in self._model._meta.local_fields:
            if each.is_relation:
                value = getattr(row, each.attname)
                if value is None:
                    value = self._instances.unique_value(plain(each), "modest")
                yield each.attname, value

    def _delete_row(self, number: int) -> None:
        for each in self._all().order_by("pk")[number : number + 1]:
            Model.delete(each, using=self._using)

    def _delete_queryset(self) -> int:
        """Return how many rows went: none where a queryset sees none, and so sends no DELETE."""
        return self._all().filter(pk=self._with_dependents().pk).delete()[0]

    def _all(self) -> QuerySet[Model]:
        return QuerySet(self._model, using=self._using)

    def _with_dependents(self, key: ForeignKey | None = None) -> Model:
        """Make a row and what depends on it; where none can be made, none is deleted."""
        oid = self._catalog.oid_of(self._model._meta.db_table)
        row = None if oid is None else self._rows.made(oid)
        if row is None:
            return self._instances.of_row({})
        self.dependents.make(row, key)
        self._rows.settle()
        return self._instances.of_row(row)
