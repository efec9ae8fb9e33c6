"""``GenericRelation``: no migration's state has any, but a deletion takes their rows along.

They are taken from the models of the code that runs the migration. Both releases get those, where
their states have both models.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.apps import apps as real_apps
from django.apps.registry import Apps
from django.core.exceptions import FieldDoesNotExist
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model, QuerySet


def add_generic_relations(apps: Apps) -> None:
    """Give the models of a state what the project's own models declare."""
    for real in real_apps.get_models():
        for field in _declared_by(real):
            model, target = _found(apps, real), _found(apps, field.related_model)
            if model is not None and target is not None and _has_both(target, field):
                _copy(field, target).contribute_to_class(model, field.name)


def generic_targets(model: type[Model]) -> Iterator[type[Model]]:
    """Yield the models whose rows a deletion takes along by a ``GenericRelation``."""
    for field in _declared_by(model):
        yield field.related_model


def _declared_by(model: type[Model]) -> Iterator[Any]:
    """Yield what Django's own deletion looks for, too."""
    for field in model._meta.private_fields:
        if hasattr(field, "bulk_related_objects"):
            yield field


def _found(apps: Apps, real: type[Model]) -> type[Model] | None:
    try:
        return apps.get_model(real._meta.label)
    except LookupError:
        return None


def _has_both(target: type[Model], field: Any) -> bool:
    try:
        target._meta.get_field(field.content_type_field_name)
        target._meta.get_field(field.object_id_field_name)
    except FieldDoesNotExist:
        return False
    return True


def _copy(field: Any, target: type[Model]) -> Any:
    return _relation_of_state()(
        target,
        object_id_field=field.object_id_field_name,
        content_type_field=field.content_type_field_name,
        for_concrete_model=field.for_concrete_model,
    )


@cache
def _relation_of_state() -> Any:
    """Return a ``GenericRelation`` that makes no content type where there is none.

    It is imported here: only a project that has installed content types can do so.
    """
    from django.contrib.contenttypes.fields import GenericRelation
    from django.contrib.contenttypes.models import ContentType

    class RelationOfState(GenericRelation):
        def bulk_related_objects(self, objs: Any, using: str = DEFAULT_DB_ALIAS) -> Any:
            meta = self.model._meta
            named = {"app_label": meta.app_label, "model": meta.model_name}
            known = ContentType.objects.using(using).filter(**named).values_list("pk", flat=True)
            rows: QuerySet[Model] = QuerySet(self.remote_field.model, using=using)
            wanted = {
                self.content_type_field_name: known.first() or 0,
                f"{self.object_id_field_name}__in": [each.pk for each in objs],
            }
            return rows.filter(**wanted)

    return RelationOfState
