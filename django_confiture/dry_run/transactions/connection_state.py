"""One of Django's connections, with what it knows of transactions reset for a dry run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_FRESH: dict[str, Callable[[], object]] = {
    "autocommit": lambda: True,
    "in_atomic_block": lambda: False,
    "savepoint_state": lambda: 0,
    "savepoint_ids": list,
    "atomic_blocks": list,
    "commit_on_exit": lambda: True,
    "needs_rollback": lambda: False,
    "rollback_exc": lambda: None,
    "closed_in_transaction": lambda: False,
    "run_on_commit": list,
    "run_commit_hooks_on_set_autocommit_on": lambda: False,
}


class TakenOver:
    """Resets what the connection knows, and shadows methods of it, until it is given back."""

    def __init__(
        self, wrapper: BaseDatabaseWrapper, shadows: Mapping[str, Callable[..., object]]
    ) -> None:
        self._wrapper = wrapper
        self._shadows = tuple(shadows)
        self._saved = {name: getattr(wrapper, name) for name in _FRESH}
        for name, fresh in _FRESH.items():
            setattr(wrapper, name, fresh())
        for name, shadow in shadows.items():
            setattr(wrapper, name, shadow)

    def give_back(self) -> None:
        """Restore everything."""
        for name in self._shadows:
            vars(self._wrapper).pop(name, None)
        for name, value in self._saved.items():
            setattr(self._wrapper, name, value)
