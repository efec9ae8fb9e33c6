"""The table names of models, read from a project state without rendering it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.backends.utils import strip_quotes, truncate_name
from django.db.migrations.state import ProjectState
from django.db.migrations.utils import get_references, resolve_relation

if TYPE_CHECKING:
    from django.db.backends.base.operations import BaseDatabaseOperations
    from django.db.migrations.state import ModelState
    from django.db.models import Field

Key = tuple[str, str]
"""(app label, lower-case model name), as the state's models are keyed."""


class ModelTables:
    """Names tables of a state's models, quoted as Django quotes them."""

    def __init__(self, ops: BaseDatabaseOperations) -> None:
        self._ops = ops

    def of(self, state: ProjectState, key: Key) -> str | None:
        """Return a model's table; a proxy has its parent's."""
        name = self._table_name(state, key)
        return None if name is None else self._ops.quote_name(name)

    def of_field(
        self, state: ProjectState, key: Key, name: str, field: Field[Any, Any]
    ) -> Iterator[str]:
        """Yield the tables on the other end of a relation, and between the two."""
        if field.remote_field is None:
            return
        if field.many_to_many:
            between = self._between(state, key, name, field)
            if between is None:
                return
            yield between
        elif not getattr(field, "db_constraint", False):
            return
        target = self.of(state, resolve_relation(field.remote_field.model, *key))
        if target is not None:
            yield target

    def of_referrers(self, state: ProjectState, key: Key) -> Iterator[str]:
        """Yield the tables whose foreign keys lead to a model's."""
        for model, name, field, _reference in get_references(state, key):
            own = (model.app_label, model.name_lower)
            between = self._between(state, own, name, field) if field.many_to_many else None
            if found := between or self.of(state, own):
                yield found

    def _between(self, state: ProjectState, key: Key, name: str, field: Any) -> str | None:
        """Return the table that Django makes for a many-to-many field, None where a model has."""
        if field.remote_field.through is not None:
            return None
        default = f"{strip_quotes(self._table_name(state, key) or '')}_{name}"
        given: str | None = field.db_table
        return self._ops.quote_name(given or truncate_name(default, self._ops.max_name_length()))

    def _table_name(self, state: ProjectState, key: Key) -> str | None:
        model = state.models.get(key)
        if model is None:
            return None
        if model.options.get("proxy"):
            parents = [
                resolve_relation(base, *key) for base in model.bases if isinstance(base, str)
            ]
            return next(filter(None, (self._table_name(state, each) for each in parents)), None)
        default = f"{model.app_label}_{model.name_lower}"
        given: str | None = model.options.get("db_table")
        return given or truncate_name(default, self._ops.max_name_length())


def differs(one: ModelState, other: ModelState) -> bool:
    """Return whether two states of a model differ.

    Most copies share their fields, which then need not be taken apart to be compared.
    """
    if _ids(one) == _ids(other):
        return _apart_from_fields(one) != _apart_from_fields(other)
    return one != other


def _ids(model: ModelState) -> dict[str, int]:
    return {name: id(each) for name, each in model.fields.items()}


def _apart_from_fields(model: ModelState) -> tuple[Any, ...]:
    return model.app_label, model.name, model.options, model.bases, model.managers


def is_managed(model: ModelState) -> bool:
    """Return whether migrations make and change the table of a model."""
    options = model.options
    swapped = getattr(settings, options.get("swappable") or "", None)
    label = f"{model.app_label}.{model.name}"
    return (
        options.get("managed", True)
        and not options.get("proxy")
        and (swapped is None or swapped.lower() == label.lower())
    )
