"""The keys by which a release refers to rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Field

from django_confiture.dry_run.running_code.catalog.catalog_rows import CatalogRows
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.running_code.instances.loaded import LoadedValues, plain
from django_confiture.dry_run.running_code.instances.values import Values


class References:
    """Finds rows for foreign keys on the schema as it is when asked, or makes them."""

    def __init__(
        self, values: Values, loaded: LoadedValues, catalog: TableCatalog, rows: CatalogRows
    ) -> None:
        self._values = values
        self._loaded = loaded
        self._catalog = catalog
        self._rows = rows

    def key_of(self, each: Any, *, made: bool) -> Any:
        """Return the key of a row, of a new one if it is to be ``made``.

        So it is where the server wants another row's: that both have the same would be chance.
        Raises ``NotLoadedError`` where there is none, or one that the release can't read.
        """
        oid, column = self._referred(each)
        row = None
        if oid is not None:
            targets = self._targets(each)
            is_new = made or bool(targets and targets.get(oid) != column)
            row = self._rows.made(oid) if is_new else self._rows.one(oid)
        return self._loaded.of(each.target_field, oid, row or {}, column)

    def own_key_of(self, each: Any) -> Any:
        """Return the key of a row that is made with a key as the release would make it."""
        value = self._values.unique(plain(each), "modest")
        self._make(each, str(value))
        return value

    def _make(self, each: Any, key: str) -> None:
        if each.target_field.remote_field is not None:  # first what that key refers to itself
            self._make(each.target_field, key)
        oid, column = self._referred(each)
        if oid is not None:
            self._rows.made(oid, {column: key})

    def _referred(self, each: Any) -> tuple[int | None, str]:
        """Return the table and column to refer to: those of the model, else the server's."""
        target: Field[Any, Any] = each.target_field
        known = self._catalog.oid_of(target.model._meta.db_table)
        referred = self._catalog.table(known) if known is not None else None
        is_known = referred is not None and target.column in referred.columns
        is_view = referred is not None and referred.is_view
        for oid, column in self._targets(each).items():
            if not is_known or (is_view and oid != known):
                return oid, column
        return known, str(target.column)

    def _targets(self, each: Any) -> Mapping[int, str]:
        """Return the tables that the server has the column refer to, each with its column."""
        oid = self._catalog.oid_of(each.model._meta.db_table)
        table = self._catalog.table(oid) if oid is not None else None
        keys = table.outgoing if table is not None else ()
        return {key.target: key.target_columns[0] for key in keys if key.columns == (each.column,)}
