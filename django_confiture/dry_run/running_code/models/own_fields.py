"""Fields of the project's own, whose code may not be that of the running release any more.

A state of the models names a field's class, and Python has one class of that name: that of the
code that runs the dry run. Where it asks for a column of another type than the one that is there,
the running release has other code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.server.side_channel import Session

_CONVERSIONS = frozenset(
    (
        "from_db_value",
        "get_db_prep_save",
        "get_db_prep_value",
        "get_placeholder",
        "get_prep_value",
        "pre_save",
    )
)
"""The methods by which a field makes what is sent, and reads what is there."""
_SAME = "SELECT pg_catalog.to_regtype($1) = pg_catalog.to_regtype($2)"


def of_other_code(
    wrapper: BaseDatabaseWrapper,
    session: Session,
    catalog: TableCatalog,
    models: Iterable[type[Model]],
) -> Iterator[str]:
    """Yield in words the fields of the running release that may have had other code in it."""
    converting: dict[str, list[str]] = {}
    for model in models:
        for each in filter(is_of_the_project, model._meta.local_concrete_fields):
            name = f"{model._meta.label}.{each.name}"
            wanted, is_one = each.db_type(wrapper), True
            for table in catalog.tables([model._meta.db_table]):
                column = table.columns.get(str(each.column))
                if column and wanted and not _is_same(session, column.type, wanted):
                    is_one = False
                    yield (
                        f"{name}: {type(each).__name__} is for a column of type {wanted}, which is"
                        f" {column.type} before the plan: the running release has other code for"
                        " its values"
                    )
            if is_one and _converts(each):
                converting.setdefault(type(each).__name__, []).append(name)
    for kind, names in converting.items():
        yield (
            f"{', '.join(names)}: both releases were tried with this checkout's code of {kind};"
            " if the running release's converts values in another way, that was not tried"
        )


def _converts(each: Any) -> bool:
    """Return whether the project's own code makes what a field sends or reads.

    That of an installed package changes with its version, not with a release of the project.
    """
    owners = [
        owner
        for owner in type(each).__mro__
        if not owner.__module__.startswith("django.") and not _CONVERSIONS.isdisjoint(vars(owner))
    ]
    return any(_is_written_here(owner) for owner in owners)


def _is_written_here(owner: type) -> bool:
    module = sys.modules.get(owner.__module__)
    path = Path(getattr(module, "__file__", None) or "").parts
    return not {"site-packages", "dist-packages"}.intersection(path)


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
