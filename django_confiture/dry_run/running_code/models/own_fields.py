"""Fields of the project's own, whose code may not be that of the running release any more.

A state of the models names a field's class, and Python has one class of that name: that of the
code that runs the dry run. Where it asks for a column of another type than the one that is there,
the running release has other code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.server.side_channel import Session

_SAME = "SELECT pg_catalog.to_regtype($1) = pg_catalog.to_regtype($2)"


def of_other_code(
    wrapper: BaseDatabaseWrapper,
    session: Session,
    catalog: TableCatalog,
    models: Iterable[type[Model]],
) -> Iterator[str]:
    """Yield in words the fields of the running release whose columns have another type."""
    for model in models:
        for each in filter(is_of_the_project, model._meta.local_concrete_fields):
            for table in catalog.tables([model._meta.db_table]):
                column = table.columns.get(str(each.column))
                wanted = each.db_type(wrapper)
                if column and wanted and not _is_same(session, column.type, wanted):
                    yield (
                        f"{model._meta.label}.{each.name}: {type(each).__name__} is for a column"
                        f" of type {wanted}, which is {column.type} before the plan: the running"
                        " release has other code for its values"
                    )


def is_of_the_project(each: Any) -> bool:
    """Return whether the class of a field is not one of Django's own."""
    return not type(each).__module__.startswith("django.")


def are_read_by_it(model: type[Model]) -> bool:
    """Return whether code of the project's own reads a column: it may not know what is there."""
    own = filter(is_of_the_project, model._meta.concrete_fields)
    return any(hasattr(each, "from_db_value") for each in own)


def _is_same(session: Session, one: str, other: str) -> bool:
    """Return whether two names are of one type; true where that can't be told."""
    try:
        with session.undone():
            return session.value(_SAME, [one, other]) != "f"
    except psycopg.Error:
        if session.status == TransactionStatus.UNKNOWN:
            raise
        return True
