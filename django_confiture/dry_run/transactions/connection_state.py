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
        self._shadows = dict(shadows)
        self._saved = {name: getattr(wrapper, name) for name in CONNECTION_STATE}
        own = vars(wrapper)
        self._shadowed = {name: own[name] for name in shadows if name in own}
        """What stood in for a method before: ``connect`` of a TestCase."""
        self.reset()
        for name, shadow in shadows.items():
            setattr(wrapper, name, shadow)

    def reset(self) -> None:
        """Set the state of a connection that is in no transaction."""
        for name, fresh in CONNECTION_STATE.items():
            setattr(self._wrapper, name, fresh())

    def give_back(self) -> None:
        """Restore everything."""
        own = vars(self._wrapper)
        for name, shadow in self._shadows.items():
            if own.get(name) is shadow:  # not what a TestCase's was put back by now
                del own[name]
                own.update({name: self._shadowed[name]} if name in self._shadowed else {})
        for name, value in self._saved.items():
            setattr(self._wrapper, name, value)
