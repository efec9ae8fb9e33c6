"""Other values for a row that a CHECK or a unique index refuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from itertools import islice, product

from django.db.models import Model

from django_confiture.dry_run.running_code.catalog.table import Table
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.instances.instances import Variant
from django_confiture.dry_run.running_code.instances.level import Level

_REPAIRS = 12
"""How many ways to satisfy a CHECK are tried."""
_DIGITS = 8
"""Numbers with so many digits at most are tried where any number is refused."""
_MALFORMED = ("22P02", "42601")
"""A text is none of the column's type: the types of extensions call it a syntax error."""
_DUPLICATE = "23505"
_LEVELS: tuple[Level, ...] = ("modest", "least", "most")


def repaired(
    model: type[Model],
    tables: Iterable[Table],
    varied: Set[str],
    variant: Variant,
    failure: Failure,
) -> Iterator[Variant]:
    """Yield the variant with other values for the columns of the CHECK that it violates.

    A text gets what its column reads if that is not one of texts. Those of fields that are
    ``varied`` in each row have another number of digits.
    """
    checks = (each for table in tables for each in table.checks)
    columns = {
        column for each in checks if each.name == failure.constraint for column in each.columns
    }
    fields = model._meta.concrete_fields
    names = [each.name for each in fields if each.column in columns]
    levelled = [name for name in names if name not in varied]
    ways = product(_LEVELS, repeat=len(levelled)) if levelled else ()
    for levels in islice(ways, _REPAIRS):
        yield replace(variant, levels=dict(zip(levelled, levels, strict=True)))
    if failure.sqlstate in _MALFORMED:
        yield replace(variant, as_columns=True)
    if failure.sqlstate == _DUPLICATE or not varied.isdisjoint(names):
        yield from (replace(variant, digits=each) for each in range(1, _DIGITS + 1))
