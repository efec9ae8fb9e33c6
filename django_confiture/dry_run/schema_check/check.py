"""Compares the schema that is there now with the one that a project state's models would create."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_confiture.dry_run.measuring.schema.schema_diff import read_relations
from django_confiture.dry_run.measuring.schema.schema_objects import SchemaObject
from django_confiture.dry_run.results.drift import Difference
from django_confiture.dry_run.schema_check.column_sequences import with_sequences
from django_confiture.dry_run.schema_check.comparison import table_differences
from django_confiture.dry_run.schema_check.scratch_tables import (
    ScratchTables,
    compared_models,
    relation_of,
    scratch_tables,
    table_oids,
)

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

    from django_confiture.dry_run.server.side_channel import Session

NEVER_MADE = "its app has no migrations; migrate --run-syncdb makes it"

TableObjects = Mapping[str, Sequence[SchemaObject]]
"""Table, as :func:`relation_of` calls it → its objects; no entry where there is no such table."""


@dataclass(frozen=True)
class SchemaCheck:
    """The result of a comparison."""

    differences: tuple[Difference, ...]
    not_compared: Mapping[str, str]
    """Table → why it was not compared."""


def check_schema(
    session: Session,
    wrapper: BaseDatabaseWrapper,
    apps: Apps,
    *,
    tables: Collection[str] | None = None,
    there: TableObjects | None = None,
    unmigrated: Collection[str] = (),
) -> SchemaCheck:
    """Compare the models' tables with the database's; needs an open transaction.

    ``tables`` chooses some of them, None all. ``there`` is what the tables had at another time,
    None what they have now. ``unmigrated`` are apps without migrations, which may have no tables:
    no migration makes them. Temporary tables are made for the models and dropped; the real ones
    are only looked up in the catalogs.
    """
    models = list(_chosen(compared_models(apps, wrapper), tables))
    relations = {model._meta.db_table: relation_of(model) for model in models}
    found = read_tables(session, wrapper, models) if there is None else there
    chosen = {name: found[name] for name in relations.values() if name in found}
    found = with_sequences(session, chosen)
    never_made = {
        relation_of(model): NEVER_MADE
        for model in models
        if model._meta.app_label in unmigrated and relation_of(model) not in found
    }
    models = [model for model in models if relation_of(model) not in never_made]
    with scratch_tables(session, wrapper, models) as wanted:
        objects = wanted.objects(session)
        differences = tuple(_differences(relations, found, wanted, objects))
    not_made = {relations[table]: reason for table, reason in wanted.not_made.items()}
    return SchemaCheck(differences, {**not_made, **never_made})


def read_tables(
    session: Session, wrapper: BaseDatabaseWrapper, models: Iterable[type[Model]]
) -> TableObjects:
    """Return the objects of the models' tables that exist."""
    relations = {model._meta.db_table: relation_of(model) for model in models}
    oids = table_oids(session, wrapper, relations)
    objects = read_relations(session, oids.values())
    return {relations[table]: objects[oid] for table, oid in oids.items() if oid in objects}


def _chosen(models: Iterable[type[Model]], tables: Collection[str] | None) -> Iterator[type[Model]]:
    """Yield the models of ``tables``, and the owner of a many-to-many table, which makes it."""
    models = list(models)
    wanted = set(map(relation_of, models)) if tables is None else set(tables)
    wanted |= {
        relation_of(m._meta.auto_created)  # type: ignore[arg-type]
        for m in models
        if m._meta.auto_created and relation_of(m) in wanted
    }
    for model in models:
        owner: Any = model._meta.auto_created
        if relation_of(model) in wanted or (owner and relation_of(owner) in wanted):
            yield model


def _differences(
    relations: Mapping[str, str],
    found: TableObjects,
    wanted: ScratchTables,
    objects: Mapping[str, Sequence[SchemaObject]],
) -> Iterator[Difference]:
    for table, relation in relations.items():
        if table not in wanted.made:
            continue
        if relation not in found:
            yield Difference("table", relation, relation, None, "a table")
            continue
        yield from table_differences(relation, found[relation], objects[table], wanted.named[table])
