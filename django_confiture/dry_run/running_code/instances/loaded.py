"""Values of a row as the ORM reads them: by psycopg's loaders, then by the field's converters."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field
from psycopg.adapt import Transformer
from psycopg.pq import Format

from django_confiture.dry_run.running_code.catalog.known_rows import Row
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.server.driver import psycopg_connection


class NotLoadedError(Exception):
    """The column is not there, or its value is none that the field can read."""


class LoadedValues:
    """Reads columns of rows that the server wrote as text."""

    def __init__(self, wrapper: BaseDatabaseWrapper, catalog: TableCatalog) -> None:
        self._wrapper = wrapper
        self._catalog = catalog

    def of(self, field: Field[Any, Any], oid: int | None, row: Row, column: str) -> Any:
        """Return what a field reads from a column; raises :class:`NotLoadedError`."""
        table = self._catalog.table(oid) if oid is not None else None
        if table is None or column not in table.columns or column not in row:
            raise NotLoadedError(column)
        try:
            return self._converted(plain(field), table.columns[column].base_oid, row[column])
        except Exception as error:
            # A field's converter may raise anything: of another type by now.
            raise NotLoadedError(column) from error

    def _converted(self, field: Any, type_oid: int, text: str | None) -> Any:
        value: Any = None
        if text is not None:
            raw = psycopg_connection(self._wrapper.connection)
            loader = Transformer(raw).get_loader(type_oid, Format.TEXT)
            value = loader.load(text.encode(raw.info.encoding))
        for convert in field.get_db_converters(self._wrapper):
            value = convert(value, field.cached_col, self._wrapper)
        if not field.primary_key:
            return value
        # Code that holds a row knows its key as what it was: no number ever was a UUID.
        known = field.to_python(value)
        if isinstance(value, UUID) and isinstance(known, int):
            raise NotLoadedError(field.column)
        return known


def plain(target: Any) -> Any:
    """Return the field that a chain of foreign keys ends with: it has the values."""
    while target.remote_field is not None:
        target = target.target_field
    return target
