"""Other values for a row that a CHECK refuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, product

from django.db.models import Model

from django_confiture.dry_run.running_code.catalog.tables import Table
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.instances.instances import Variant
from django_confiture.dry_run.running_code.instances.values import Level

_REPAIRS = 12
"""How many ways to satisfy a CHECK are tried."""
_LEVELS: tuple[Level, ...] = ("modest", "least", "most")


def repaired(
    model: type[Model], tables: Iterable[Table], variant: Variant, failure: Failure
) -> Iterator[Variant]:
    """Yield the variant with other values for the columns of the CHECK that it violates."""
    checks = [table.checks.get(failure.constraint or "", ()) for table in tables]
    columns = {column for each in checks for column in each}
    fields = model._meta.concrete_fields
    names = [each.name for each in fields if each.column in columns]
    ways = product(_LEVELS, repeat=len(names)) if names else ()
    for levels in islice(ways, _REPAIRS):
        yield replace(variant, levels=dict(zip(names, levels, strict=True)))
