"""Django's states of models, copied and rendered faster while a dry run is on.

A dry run makes more of them than ``migrate`` does: of the plan before it starts, and of both
releases. Django copies every model for each operation, and looks for swappable models in all models
again whenever one has been rendered. What comes of it is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.apps.registry import Apps
from django.db.migrations.state import ModelState

from django_confiture.dry_run.server.driver import CLONE_MODEL_STATE, SWAPPABLE_SETTING
from django_confiture.dry_run.server.patches import patched


@contextmanager
def quick_states() -> Iterator[None]:
    """Copy and render states of models faster inside the block."""
    with patched((SWAPPABLE_SETTING, _CachedForProject), (CLONE_MODEL_STATE, _copying)):
        yield


class _OfProject:
    """``get_swappable_settings_name`` of the project's apps, with a cache of its own."""

    def __init__(self, original: Any) -> None:
        self._original = original
        self._found: dict[str, str | None] = {}

    def __call__(self, to_string: str) -> str | None:
        if to_string not in self._found:
            self._found[to_string] = self._original(apps, to_string)
        return self._found[to_string]

    def cache_clear(self) -> None:
        """Forget all, as Django asks for when one of the project's models has changed."""
        self._found.clear()
        self._original.cache_clear()


class _CachedForProject:
    """That method of every registry.

    Django has one cache for all of them, and empties it when any gets a model: those of states
    do, all the time.
    """

    def __init__(self, original: Any) -> None:
        self._original = original
        self._of_project = _OfProject(original)

    def __get__(self, registry: Apps | None, owner: type[Apps]) -> Any:
        return self._of_project if registry is apps else self._original.__get__(registry, owner)


def _copying(original: Callable[[ModelState], ModelState]) -> Callable[[ModelState], ModelState]:
    """Return a ``ModelState.clone`` that does not check again what it copies."""

    def clone(state: ModelState) -> ModelState:
        if type(state) is not ModelState:
            return original(state)
        copied = object.__new__(ModelState)
        attributes = state.__dict__.copy()
        attributes.pop("name_lower", None)  # a cached property, of a name that may be changed
        attributes["fields"] = state.fields.copy()
        attributes["options"] = state.options.copy()
        attributes["managers"] = state.managers.copy()
        copied.__dict__ = attributes
        return copied

    return clone
