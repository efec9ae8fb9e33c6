"""Probes that only a schema other than the first one gives a reason for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import replace
from functools import partial

from django.db.models import Model, QuerySet

from django_confiture.dry_run.results.deploy import Action
from django_confiture.dry_run.running_code.catalog.table import ForeignKey
from django_confiture.dry_run.running_code.instances.instances import Variant
from django_confiture.dry_run.running_code.models.release import automatic_keys
from django_confiture.dry_run.running_code.probes.check_probes import of_check
from django_confiture.dry_run.running_code.probes.model_probes import ModelProbes
from django_confiture.dry_run.running_code.probes.other_case import differing_in_case
from django_confiture.dry_run.running_code.probes.other_types import (
    comparisons,
    of_other_types,
    retyped,
)
from django_confiture.dry_run.running_code.probes.probe import Probe
from django_confiture.dry_run.running_code.probes.served_keys import NextKey
from django_confiture.dry_run.running_code.probes.shape import Shape


def later_probes(
    probes: ModelProbes,
    shapes: tuple[Shape, Shape],
    passed: Sequence[Probe],
    actions: Set[Action],
    next_key: NextKey | None,
    may_refer: Callable[[ForeignKey, Action], bool],
) -> Iterator[Probe]:
    """Yield the INSERTs and UPDATEs to try, by what has ``passed`` on the first of the shapes."""
    before, now = shapes
    inserted = [each.variant for each in passed if each.action == "insert" and each.variant]
    if next_key is not None and inserted:
        yield probes.insert_with_next_key(inserted[0], next_key)
    if "insert" in actions and inserted:
        yield from _inserts(probes, before, now, inserted[0])
    if now.types != before.types:
        worked = actions & {each.action for each in passed}
        yield from _of_other_types(probes, before, now, worked)
    if not any(each.action == "update" for each in passed):
        return
    if "update" in actions:
        yield from _of_values(probes, before, now, inserted)
    for referred, key in now.referred.items():
        if referred not in before.referred and may_refer(key, "update"):
            yield probes.of_referred(key)


def _with_its_key(probes: ModelProbes, variant: Variant) -> Probe:
    """Return the INSERT of a row with a key, such as one that is copied from elsewhere."""
    probe = probes.insert_as_it_is(variant)
    return replace(probe, name="an INSERT with its key", is_untold=True)


def _ignoring_conflicts(probes: ModelProbes, variant: Variant) -> Probe:
    """Return the INSERT that passes over rows that are there."""

    def insert() -> None:
        rows: QuerySet[Model] = QuerySet(probes.model, using=probes.using)
        rows.bulk_create([probes.new(variant)], ignore_conflicts=True)

    return Probe("insert", "ignoring conflicts", insert, variant, is_optional=True)


def _in_bulk(probes: ModelProbes, variant: Variant) -> Probe:
    """Return the INSERT after which Django misses a row that a trigger or rule has swallowed.

    From Django 6.0 on, ``save()`` doesn't notice.
    """

    def insert() -> None:
        rows: QuerySet[Model] = QuerySet(probes.model, using=probes.using)
        rows.bulk_create([probes.new(variant, key="served")])

    return Probe("insert", "in bulk", insert, variant, is_optional=True)


def _of_other_types(
    probes: ModelProbes, before: Shape, now: Shape, actions: Set[Action]
) -> Iterator[Probe]:
    fields = retyped(probes.model, probes.using, before.types, now.types)
    for probe in (*of_other_types(probes, fields), *comparisons(probes, fields)):
        if probe.action in actions:
            yield probe


def _inserts(probes: ModelProbes, before: Shape, now: Shape, variant: Variant) -> Iterator[Probe]:
    changed = (now.keys, now.access) != (before.keys, before.access)
    if changed and automatic_keys(probes.model):
        yield probes.insert_without_key(variant)
    yield from _of_other_case(probes, now.folded - before.folded)
    in_one_table = not probes.model._meta.parents  # else Django refuses bulk_create()
    if in_one_table and now.may_refuse_conflicts(before):
        yield _ignoring_conflicts(probes, variant)
    if in_one_table and "insert" in now.guarded - before.guarded:
        yield _in_bulk(probes, variant)
    if now.makes_every_key and not before.makes_every_key:
        yield _with_its_key(probes, variant)


def _of_values(
    probes: ModelProbes, before: Shape, now: Shape, inserted: Sequence[Variant]
) -> Iterator[Probe]:
    for variant in inserted if now.hides_rows else ():
        if variant.captured:  # no row that is in sight need have such values
            yield probes.update(variant)
    for name, index in now.unique.items():
        if before.unique.get(name) != index:
            yield from probes.of_unique(index.name, index.columns)
    for key, check in now.checks.items() if inserted else ():
        if before.checks.get(key) != check:
            yield from of_check(probes, check[1])


def _of_other_case(probes: ModelProbes, names: Iterable[str]) -> Iterator[Probe]:
    for name in names:
        yield Probe("insert", f"{name} in other case", partial(_insert_in_case, probes, name))


def _insert_in_case(probes: ModelProbes, name: str) -> None:
    rows = [probes.new(Variant("modest", "modest")) for _time in range(2)]
    for row, text in zip(rows, differing_in_case(getattr(rows[0], name)), strict=True):
        setattr(row, name, text)
    probes.insert_all(rows)


def unknown_probes(
    probes: ModelProbes, shape: Shape, refers: Callable[[ForeignKey, Action], bool]
) -> Iterator[Probe]:
    """Yield the INSERTs and UPDATEs for what the release does not know of a schema."""
    for key in shape.referred.values():
        if refers(key, "update"):
            yield probes.of_referred(key)
    columns = [str(each.column) for each in automatic_keys(probes.model)]
    if any(shape.keys.get(each) == (None, "") for each in columns):
        yield probes.insert_without_key(Variant("computed", None))
    yield from _of_other_case(probes, shape.folded)
    for _table, check in shape.checks.values():
        yield from of_check(probes, check)
    for index in shape.unique.values():
        yield from probes.of_unique(index.name, index.columns)
