"""Compares the schema that a plan leaves with the one that its final models would create."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_confiture.dry_run.measuring.schema.schema_objects import Schema, SchemaObject
from django_confiture.dry_run.plan.model_tables import differs
from django_confiture.dry_run.results.drift import Difference
from django_confiture.dry_run.schema_check.check import check_schema
from django_confiture.dry_run.schema_check.made_in_plan import TablesMade
from django_confiture.dry_run.schema_check.scratch_tables import compared_models, relation_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.state import ProjectState

    from django_confiture.dry_run.server.side_channel import Session


@dataclass(frozen=True)
class PlanDrift:
    """How the tables that a plan touches differ from their models at its end."""

    made: tuple[Difference, ...] = ()
    """The differences that the plan leaves."""
    before: tuple[Difference, ...] = ()
    """The differences that were there before the plan, without the harmless ones."""
    not_compared: Mapping[str, str] | None = None
    """Table → why it was not compared; None if the plan touches no table of a model."""
    app_labels: Mapping[str, str] | None = None
    """Table → the app of its model."""
    made_as_models: frozenset[str] = frozenset()
    """The tables that the plan has made with the very statements of their models."""


def check_plan(
    session: Session,
    wrapper: BaseDatabaseWrapper,
    *,
    start: ProjectState,
    end: ProjectState,
    changed: Set[str],
    first: Callable[[], Schema],
    made: TablesMade,
) -> PlanDrift:
    """Compare the tables that the plan touches: in its models, or in the schema (``changed``).

    ``first`` returns the schema before the plan, by which older differences are told apart. What is
    ``made`` just as the models would make it is equal.
    """
    models = compared_models(end.apps, wrapper)
    labels = {relation_of(model): model._meta.app_label for model in models}
    tables = {*_tables_of_changed_models(start, end, wrapper)}
    tables |= {each for each in labels if not changed.isdisjoint(_possible_names(each))}
    if not tables:
        return PlanDrift()
    as_models = made.as_models_would(session, wrapper, models)
    tables -= as_models
    if not tables:
        return PlanDrift(not_compared={}, app_labels=labels, made_as_models=as_models)
    with session.undone():
        check = check_schema(session, wrapper, end.apps, tables=tables)
        found = check.differences
        if not found:
            return PlanDrift((), (), check.not_compared, labels, as_models)
        older = check_schema(
            session,
            wrapper,
            start.apps,
            tables={each.table for each in found},
            there=_objects_by_table(first(), labels),
        )
    known = set(older.differences)
    return PlanDrift(
        tuple(each for each in found if each not in known),
        tuple(each for each in found if each in known and not each.harmless),
        check.not_compared,
        labels,
        as_models,
    )


def _tables_of_changed_models(
    start: ProjectState, end: ProjectState, wrapper: BaseDatabaseWrapper
) -> Iterator[str]:
    known = start.models
    changed = {
        key for key in end.models if key not in known or differs(known[key], end.models[key])
    }
    for model in compared_models(end.apps, wrapper):
        owner = model._meta.auto_created or model
        if (owner._meta.app_label, owner._meta.model_name) in changed:  # type: ignore[union-attr]
            yield relation_of(model)


def _objects_by_table(
    schema: Schema, relations: Iterable[str]
) -> Mapping[str, Sequence[SchemaObject]]:
    by_name = {
        each.name: objects
        for objects in schema.values()
        for each in objects
        if each.kind == "table"
    }
    return {
        relation: by_name[name]
        for relation in relations
        for name in reversed(_possible_names(relation))
        if name in by_name
    }


def _possible_names(relation: str) -> Sequence[str]:
    """Return what a table may be called: without its schema where the search path finds it."""
    return [relation, relation.rpartition(".")[2]]
