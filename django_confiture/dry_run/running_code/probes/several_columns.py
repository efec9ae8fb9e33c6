"""Values for a CHECK that the values of one level may never violate.

One of several columns, of a column with another value in each row, or of one partition alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import islice, product
from typing import Any

from django.db.models import Model

from django_confiture.dry_run.running_code.catalog.table import Check, Table
from django_confiture.dry_run.running_code.instances.instances import Variant, emptiable
from django_confiture.dry_run.running_code.instances.level import Level

_SEVERAL = 2
_MOST = 16
"""How many rows are made up for one CHECK."""
_DIGITS = 4
_ENDS: tuple[Level, ...] = ("least", "most")


def unknown_checks(
    model: type[Model], tables: Iterable[Table], varied: Set[str]
) -> Mapping[object, tuple[str, Check]]:
    """Return the CHECKs that need such values and that the release does not know of.

    Each with its table, as it is now.
    """
    known = {each.name for each in model._meta.constraints}
    own = {str(each.column) for each in model._meta.concrete_fields if each.name in varied}
    return {
        (table.name, each.part, each.name, each.columns): (table.name, each)
        for table in tables
        for each in table.checks
        if each.name not in known
        and (len(each.columns) >= _SEVERAL or each.part or own.intersection(each.columns))
    }


def variants_of(
    model: type[Model], check: Check, varied: Set[str], base: Mapping[str, Any]
) -> Iterator[Variant]:
    """Yield rows in which each column of a CHECK is at either end, alone or as the others are not.

    ``base`` are the values, by attribute, that bring a row to the partition of the CHECK.
    """
    fields = [
        each
        for each in model._meta.concrete_fields
        if each.column in check.columns
        and not (each.is_relation or each.primary_key or each.generated)
    ]
    own = {each.attname for each in fields}
    others = {name: value for name, value in base.items() if name not in own}
    if check.name is None:
        for name in {each.name for each in fields}.intersection(emptiable(model)):
            yield Variant(f"without {name}", None, captured=others, emptied=name)
        return
    names = [each.name for each in fields if each.name not in varied]
    for found in _levels(names):
        said = ", ".join(f"{level} {name}" for name, level in found.items())
        yield Variant(said, None, levels=found, captured=others)
    for each in fields:
        if each.name in varied:
            first = Variant(f"other {each.name}", None, captured=others, changes_unique=True)
            yield from (replace(first, digits=digits) for digits in range(1, _DIGITS + 1))


def _levels(names: Sequence[str]) -> Iterator[Mapping[str, Level]]:
    alone = ({name: level} for name in names for level in _ENDS)
    mixed = (
        dict(zip(names, levels, strict=True))
        for levels in product(_ENDS, repeat=len(names))
        if len(set(levels)) > 1
    )
    yield from (*islice(alone, _MOST // 2), *islice(mixed, _MOST // 2))
