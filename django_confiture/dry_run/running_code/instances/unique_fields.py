"""The fields of a model that no two rows have the same values in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import Field, Model, UniqueConstraint


def is_key(each: Field[Any, Any]) -> bool:
    """Return whether a field is the primary key, or a part of a composite one."""
    return each.primary_key or each in each.model._meta.pk_fields


def unique_sets(model: type[Model]) -> Iterator[Sequence[str]]:
    """Yield the sets of fields that are unique in the release's view."""
    if len(model._meta.pk_fields) > 1:
        yield tuple(each.name for each in model._meta.pk_fields)
    for each in model._meta.local_concrete_fields:
        if each.unique:
            yield (each.name,)
    yield from model._meta.unique_together
    for constraint in model._meta.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield constraint.fields


def _conflict_targets(model: type[Model]) -> Iterator[Sequence[str]]:
    """Yield the unique sets that an ``ON CONFLICT`` of the release can name."""
    partly = [
        each.fields
        for each in model._meta.constraints
        if isinstance(each, UniqueConstraint) and (each.condition or each.deferrable)
    ]
    key = tuple(each.name for each in model._meta.pk_fields)
    for names in unique_sets(model):
        if names and names != key and names not in partly:
            yield names


def upserts_of(model: type[Model]) -> Iterator[tuple[Sequence[str], str]]:
    """Yield the unique sets of fields, each with a field to update."""
    has_one_table = not (model._meta.parents or model._meta.auto_created)
    for names in _conflict_targets(model) if has_one_table else ():
        others = [
            each.name
            for each in model._meta.local_concrete_fields
            if not (is_key(each) or each.generated or each.name in names)
        ]
        if others:
            yield names, others[0]


def unique_fields(model: type[Model]) -> Iterator[str]:
    """Yield for each unique set one field that is to have its own value."""
    chosen: set[str] = set()
    owners = [model, *model._meta.get_parent_list()]
    for names in sorted((each for owner in owners for each in unique_sets(owner)), key=len):
        fields = {each.name: each for each in model._meta.concrete_fields}
        if not names or any(name in chosen for name in names):
            continue
        known = [fields[name] for name in names if name in fields]
        known.sort(key=lambda each: (bool(each.choices), each.is_relation, _is_small(each)))
        if known:
            chosen.add(known[0].name)
    yield from chosen


def changeable(model: type[Model]) -> Iterator[str]:
    """Yield the unique fields that an UPDATE may give a new value: no key refers to them."""
    own = {*unique_fields(model)}
    for each in model._meta.concrete_fields:
        is_name = each.name in own and not (is_key(each) or each.is_relation or each.generated)
        if is_name and not _is_referred(each):
            yield each.name


def _is_referred(each: Field[Any, Any]) -> bool:
    relations: Sequence[Any] = each.model._meta.related_objects
    return any(
        each in relation.field.foreign_related_fields
        for relation in relations
        if not relation.many_to_many
    )


def _is_small(each: Field[Any, Any]) -> bool:
    return each.get_internal_type() in ("BooleanField", "NullBooleanField", "DateField")
