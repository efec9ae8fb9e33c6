"""Resets a Django connection's transaction state for a dry run, and restores it after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from django_confiture.dry_run.server.driver import CONNECTION_STATE

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class TakenOver:
    """Resets what the connection knows, and shadows methods of it, until it is given back."""

    def __init__(
        self, wrapper: BaseDatabaseWrapper, shadows: Mapping[str, Callable[..., object]]
    ) -> None:
        self._wrapper = wrapper
        self._shadows = tuple(shadows)
        self._saved = {name: getattr(wrapper, name) for name in CONNECTION_STATE}
        for name, fresh in CONNECTION_STATE.items():
            setattr(wrapper, name, fresh())
        for name, shadow in shadows.items():
            setattr(wrapper, name, shadow)

    def give_back(self) -> None:
        """Restore everything."""
        for name in self._shadows:
            vars(self._wrapper).pop(name, None)
        for name, value in self._saved.items():
            setattr(self._wrapper, name, value)
