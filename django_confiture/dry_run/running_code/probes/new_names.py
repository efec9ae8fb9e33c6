"""UPDATEs that give a row other unique values: a new slug, a longer number of an article."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from django.db.models import Model

from django_confiture.dry_run.running_code.instances.instances import Variant
from django_confiture.dry_run.running_code.instances.unique_fields import changeable


def with_new_names(model: type[Model], variants: Iterable[Variant]) -> Iterator[Variant]:
    """Yield the variant with the largest values that has new unique ones, if any may change."""
    largest = [each for each in variants if each.level == "most"]
    if largest and any(changeable(model)):
        name = f"{largest[0].name}, with new names"
        yield replace(largest[0], name=name, changes_unique=True)
