"""UPDATEs that give a row what another one has: a unique index may let only one row have it.

Code does so with what has few values: a foreign key, a choice, yes or no, NULL. Two rows with the
same text are tried with INSERTs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import permutations

from django.db.models import Field, Model

from django_confiture.dry_run.running_code.catalog.table import Table, UniqueIndex
from django_confiture.dry_run.running_code.instances.unique_fields import is_key, unique_sets


def unknown_unique(model: type[Model], tables: Iterable[Table]) -> Mapping[str, UniqueIndex]:
    """Return the unique indexes that the release does not know of, by name.

    None of an automatic many-to-many table: no release updates its rows.
    """
    if model._meta.auto_created:
        return {}
    column_of = {each.name: each.column for each in model._meta.concrete_fields}
    names = {each.name for each in model._meta.constraints}
    known = [{column_of.get(name) for name in each} for each in unique_sets(model) if each]
    return {
        each.name: each
        for table in tables
        for each in table.unique_indexes
        if each.name not in names and not any(columns <= {*each.columns} for columns in known)
    }


def as_another(
    model: type[Model], rows: Sequence[Model], columns: Sequence[str]
) -> Iterator[Model]:
    """Yield each of the rows with what another one has in those of the columns with few values."""
    fields = [
        each
        for each in model._meta.concrete_fields
        if each.column in columns and not (is_key(each) or each.unique or each.generated)
    ]
    stored = [each.attname for each in model._meta.concrete_fields if not each.generated]
    for row, other in permutations(rows, 2):
        values = {each: getattr(other, each.attname) for each in fields}
        taken = {
            each.attname: value
            for each, value in values.items()
            if value is None or _has_few_values(each)
        }
        if any(getattr(row, name) != value for name, value in taken.items()):
            own = {name: getattr(row, name) for name in stored}
            yield model.from_db(row._state.db, stored, list({**own, **taken}.values()))


def _has_few_values(each: Field[object, object]) -> bool:
    is_boolean = each.get_internal_type() == "BooleanField"
    return bool(each.is_relation or each.choices or is_boolean)
