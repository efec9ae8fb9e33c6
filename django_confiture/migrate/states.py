"""The models before a migration, whose state Django changes in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from django.db.migrations.state import ProjectState

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.migrations.migration import Migration


def copy_of(state: ProjectState) -> ProjectState:
    """Return a copy that knows of no rendered models, so that changing it is cheap."""
    models = {key: model.clone() for key, model in state.models.items()}
    return ProjectState(models, real_apps=state.real_apps)


class StateBefore:
    """The state before a migration: to look at, to begin again from, and after a rollback."""

    def __init__(self, state: ProjectState, migration: Migration, *, backward: bool) -> None:
        """``state`` is the one that ``apply`` starts from, or that ``unapply`` leads to."""
        self._state = state
        self._backward = backward
        self._pristine: ProjectState | None = None
        self.models: Callable[[], Apps] = lambda: state.apps
        """Returns the models before it, until it runs."""
        if backward:
            self.models = cache(lambda: migration.mutate_state(state, preserve=True).apps)
        self.models_at_end = self.models
        """Returns the models before it, also once it has run."""

    def keep(self, *, retried: bool, at_end: bool) -> None:
        """Keep what is needed once the migration has changed the state.

        ``retried`` says that it may begin again: only then are the rendered models copied, which
        takes longer than all else here. ``at_end`` says whether a hook may ask for the models.
        """
        if retried:
            self._pristine = pristine = self._state.clone()
        elif at_end and not self._backward:
            pristine = copy_of(self._state)
        else:
            return
        if not self._backward:
            self.models_at_end = lambda: pristine.apps
        if retried and not self._backward:
            self.models = self.models_at_end

    def again(self) -> ProjectState:
        """Return the state to begin again from."""
        assert self._pristine is not None  # what is not retried does not begin again
        return self._pristine.clone()
