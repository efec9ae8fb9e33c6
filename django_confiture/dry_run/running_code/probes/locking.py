"""Whether a release locks the rows of a model, and how it is tried."""

from __future__ import annotations

from django.db.models import Model, QuerySet

from django_confiture.dry_run.running_code.catalog.tables import TableCatalog


def may_lock(model: type[Model], catalog: TableCatalog) -> bool:
    """Return whether there may be code that does: none does so with rows of a view that it knows.

    A model that Django manages has a table, whatever stands under its name now.
    """
    is_view = any(each.is_view for each in catalog.tables([model._meta.db_table]))
    return not (model._meta.auto_created or (is_view and not model._meta.managed))


def locked(rows: QuerySet[Model]) -> QuerySet[Model]:
    """Return the rows to be read and locked, those left out that others hold."""
    return rows.select_for_update(skip_locked=True)
