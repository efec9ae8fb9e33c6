"""Values for a CHECK of several columns, which one level for all of them may never violate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product

from django.db.models import Model

from django_confiture.dry_run.running_code.catalog.tables import Table
from django_confiture.dry_run.running_code.instances.instances import Variant
from django_confiture.dry_run.running_code.instances.values import Level

_SEVERAL = 2
_MOST = 16
"""How many rows are made up for one CHECK."""
_ENDS: tuple[Level, ...] = ("least", "most")


def unknown_checks(
    model: type[Model], tables: Iterable[Table]
) -> Mapping[str, tuple[str, Sequence[str]]]:
    """Return the CHECKs of several columns that the release does not know of.

    Each with its table, as it is now, and its columns.
    """
    known = {each.name for each in model._meta.constraints}
    return {
        name: (table.name, columns)
        for table in tables
        for name, columns in table.checks.items()
        if len(columns) >= _SEVERAL and name not in known
    }


def variants_of(model: type[Model], columns: Sequence[str]) -> Iterator[Variant]:
    """Yield rows in which each of the columns is at either end, alone or as the others are not."""
    names = [
        each.name
        for each in model._meta.concrete_fields
        if each.column in columns and not (each.is_relation or each.primary_key or each.generated)
    ]
    alone = ({name: level} for name in names for level in _ENDS)
    mixed = (
        dict(zip(names, levels, strict=True))
        for levels in product(_ENDS, repeat=len(names))
        if len(set(levels)) > 1
    )
    for found in (*islice(alone, _MOST // 2), *islice(mixed, _MOST // 2)):
        said = ", ".join(f"{level} {name}" for name, level in found.items())
        yield Variant(said, None, levels=found)
