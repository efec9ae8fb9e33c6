"""Compares the models of two states as ``makemigrations`` does."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from types import FunctionType
from typing import Any

from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.state import ModelState, ProjectState


def different_models(one: ProjectState, other: ProjectState) -> Iterator[str]:
    """Yield ``app_label.model`` of each model that is not the same in both."""
    compared = MigrationAutodetector(one, other)
    for key in [*one.models, *(key for key in other.models if key not in one.models)]:
        was, now = one.models.get(key), other.models.get(key)
        if was is None or now is None or _form(compared, was) != _form(compared, now):
            yield ".".join(key)


def _form(compared: MigrationAutodetector, model: ModelState) -> Any:
    """Return what a model is made of, without the identity of its fields."""
    fields = {
        name: compared.deep_deconstruct(field.deconstruct()[1:])
        for name, field in model.fields.items()
    }
    options = compared.deep_deconstruct(model.options)
    bases = compared.deep_deconstruct(model.bases)
    return _by_code([model.name, fields, options, bases]), model.managers


def _by_code(form: Any) -> Any:
    """Return a form in which a function is its code, and a class or an enum's value its name.

    Each file of a migration has its own copy.
    """
    if isinstance(form, dict):
        return {key: _by_code(value) for key, value in form.items()}
    if isinstance(form, list | tuple):
        return [_by_code(each) for each in form]
    if isinstance(form, FunctionType):
        return form.__qualname__, form.__code__.co_code, form.__code__.co_consts
    if isinstance(form, type):
        return form.__module__, form.__qualname__
    if isinstance(form, Enum):
        return _by_code(type(form)), form.name
    return form
