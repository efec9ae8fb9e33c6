"""Which models of a release a plan can break, by the tables that it touches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.apps.registry import Apps
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ProjectState
from django.db.models import DO_NOTHING, Model

from django_confiture.dry_run.plan.model_tables import differs
from django_confiture.dry_run.running_code.models.generic_relations import (
    add_generic_relations,
    generic_targets,
)
from django_confiture.dry_run.running_code.models.ordering import tables_of_order
from django_confiture.dry_run.running_code.models.same_models import Sent, sent_about


@dataclass(frozen=True)
class Release:
    """The models of one project state that live in one database."""

    apps: Apps
    models: tuple[type[Model], ...]

    def using(self, tables: Set[str]) -> tuple[type[Model], ...]:
        """Return the models with one of the tables, their own or a parent's, or in their order."""
        return tuple(
            model
            for model in self.models
            if not tables.isdisjoint((*tables_of(model), *tables_of_order(model)))
        )

    @cached_property
    def by_table(self) -> Mapping[str, type[Model]]:
        """The model of each table."""
        return {model._meta.db_table: model for model in self.models}

    @cached_property
    def references_by_column(self) -> Mapping[str, tuple[Any, ...]]:
        """Column → the foreign keys of that column that a deletion looks after."""
        found: dict[str, tuple[Any, ...]] = {}
        for model in self.models:
            for each in model._meta.local_fields:
                if getattr(each.remote_field, "on_delete", DO_NOTHING) is not DO_NOTHING:
                    found[str(each.column)] = (*found.get(str(each.column), ()), each)
        return found

    def dependents(self, model: type[Model]) -> Sequence[tuple[type[Model], Any]]:
        """Return the models, with their foreign key, that a deletion of a model's rows asks."""
        if model not in self._dependents:
            self._dependents[model] = tuple(_dependents(model))
        return self._dependents[model]

    def sent_about(self, model: type[Model]) -> Sent:
        """Return what decides which statements are sent about a model."""
        if model not in self._sent:
            self._sent[model] = sent_about(model)
        return self._sent[model]

    @cached_property
    def _sent(self) -> dict[type[Model], Sent]:
        return {}

    @cached_property
    def _dependents(self) -> dict[type[Model], Sequence[tuple[type[Model], Any]]]:
        return {}

    def ancestors(self, models: Collection[type[Model]]) -> tuple[type[Model], ...]:
        """Return the models whose ``delete()`` comes to one of ``models`` or asks for its rows.

        That of a child deletes what its parents delete.
        """
        found = dict.fromkeys(models)
        waiting = list(models)
        while waiting:
            each = waiting.pop()
            beside = (*self._children.get(each, ()), *self._generic_owners.get(each, ()))
            for above in (*_referred(each), *beside):
                if above not in found and above in self.models:
                    found[above] = None
                    waiting.append(above)
        return tuple(model for model in found if model not in models)

    @cached_property
    def _children(self) -> Mapping[type[Model], tuple[type[Model], ...]]:
        """Parent → the models that inherit its table."""
        found: dict[type[Model], tuple[type[Model], ...]] = {}
        for model in self.models:
            for parent in model._meta.get_parent_list():
                found[parent] = (*found.get(parent, ()), model)
        return found

    @cached_property
    def _generic_owners(self) -> Mapping[type[Model], tuple[type[Model], ...]]:
        """Model → those that have a ``GenericRelation`` to it."""
        found: dict[type[Model], tuple[type[Model], ...]] = {}
        for model in self.models:
            for target in generic_targets(model):
                found[target] = (*found.get(target, ()), model)
        return found


def release_of(state: ProjectState, wrapper: BaseDatabaseWrapper) -> Release:
    """Render the models of a state, apart from any that a migration is given."""
    models = {key: model.clone() for key, model in state.models.items()}
    apps = ProjectState(models, real_apps=state.real_apps).apps
    add_generic_relations(apps)
    return Release(apps, tuple(_living(apps, wrapper)))


def tables_of(model: type[Model]) -> Iterator[str]:
    """Yield the tables that a model's rows are in: its own first, then its parents'."""
    yield model._meta.db_table
    for parent in model._meta.get_parent_list():
        yield parent._meta.db_table


def small_numbers(release: Release) -> Iterator[tuple[str, str]]:
    """Yield the columns, each with its table, that the release knows as numbers of two bytes."""
    for model in release.models:
        for each in model._meta.local_concrete_fields:
            if "SmallInteger" in (kind := each.get_internal_type()) or kind == "SmallAutoField":
                yield model._meta.db_table, str(each.column)


def automatic_keys(model: type[Model]) -> tuple[Any, ...]:
    """Return the fields whose values the server makes: the model's own, and its parents'."""
    owners = (model, *model._meta.get_parent_list())
    return tuple(each._meta.auto_field for each in owners if each._meta.auto_field is not None)


def changed_models(old: ProjectState, new: ProjectState) -> frozenset[tuple[str, str]]:
    """Return the keys of the models that a plan adds, removes or changes in the state.

    The database need not notice: an operation may be told to change the state alone.
    """
    added_or_removed = old.models.keys() ^ new.models.keys()
    kept = old.models.keys() & new.models.keys()
    return frozenset(added_or_removed | {k for k in kept if differs(old.models[k], new.models[k])})


def tables_of_changed(
    changed: Collection[tuple[str, str]], old: Release, new: Release
) -> frozenset[str]:
    """Return the tables with which the new release deals differently than the old one.

    Those that a changed model refers to are part of them: a release deletes only the referring
    rows that it knows of.
    """
    found: set[str] = set()
    for release in (old, new):
        keys = {*changed, *_concrete(changed, release.apps)}
        for model in release.models:
            owner: Any = model._meta.auto_created or model
            if (owner._meta.app_label, owner._meta.model_name) in keys:
                found |= {*tables_of(model), *(each._meta.db_table for each in _referred(model))}
    return frozenset(found)


def _concrete(keys: Collection[tuple[str, str]], apps: Apps) -> Iterator[tuple[str, str]]:
    """Yield the keys of the models that some of ``keys`` are proxies of."""
    for model in apps.get_models():
        meta, concrete = model._meta, model._meta.concrete_model
        if meta.proxy and concrete and (meta.app_label, str(meta.model_name)) in keys:
            yield concrete._meta.app_label, str(concrete._meta.model_name)


def _living(apps: Apps, wrapper: BaseDatabaseWrapper) -> Iterator[type[Model]]:
    for model in apps.get_models(include_auto_created=True):
        swapped_or_proxy = model._meta.swapped or model._meta.proxy
        if not swapped_or_proxy and router.allow_migrate_model(wrapper.alias, model):
            yield model


def _referred(model: type[Model]) -> Iterator[type[Model]]:
    """Yield the models whose rows take some of this model's with them, or ask for them."""
    for each in model._meta.local_fields:
        remote = each.remote_field
        if remote is not None and getattr(remote, "on_delete", DO_NOTHING) is not DO_NOTHING:
            yield remote.model._meta.concrete_model or remote.model


def _dependents(model: type[Model]) -> Iterator[tuple[type[Model], Any]]:
    for relation in model._meta.get_fields(include_hidden=True):
        if not (relation.auto_created and not relation.concrete):
            continue
        child: Any = relation.related_model
        field: Any = getattr(relation, "field", None)
        if relation.many_to_many or field is None or field.many_to_many:
            continue
        if getattr(field.remote_field, "on_delete", DO_NOTHING) is not DO_NOTHING:
            yield child._meta.concrete_model, field
