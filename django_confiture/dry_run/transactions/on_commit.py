"""``on_commit`` callbacks, which send e-mails and tasks, and may write: a dry run counts them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_NOT_CALLED = (
    "The on_commit callback {} was not called: what it does, to the database as well, is not in "
    "this report."
)
_MAY_FAIL = (
    " Nor is whether it fails: migrate would end with its error then, after what came before it "
    "is committed."
)
_OWN = "django_confiture."


class CallbackObserver(Protocol):
    """Is told of ``on_commit`` callbacks."""

    def callback_registered(self, why: str) -> None:
        """A migration has registered a callback for its COMMIT, so it is not exact: why."""

    def callbacks_dropped(self, count: int) -> None:
        """``on_commit`` callbacks that a real run would have called now."""


def counting(
    wrapper: BaseDatabaseWrapper, observer: CallbackObserver
) -> dict[str, Callable[..., None]]:
    """Return what stands in for two methods of a connection: callbacks are counted, not called."""

    def on_commit(func: Callable[[], object], robust: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's signature
        if wrapper.in_atomic_block or not wrapper.get_autocommit() or not callable(func):
            type(wrapper).on_commit(wrapper, func, robust)  # which remembers it, or refuses
        else:
            observer.callbacks_dropped(1)  # outside a transaction Django calls it at once
        if why := _why_not_exact(func, robust=robust):
            observer.callback_registered(why)

    def run_and_clear_commit_hooks() -> None:
        observer.callbacks_dropped(len(wrapper.run_on_commit))
        wrapper.run_on_commit = []

    return {each.__name__: each for each in (on_commit, run_and_clear_commit_hooks)}


@contextmanager
def uncalled(wrapper: BaseDatabaseWrapper, observer: CallbackObserver) -> Iterator[None]:
    """Count callbacks instead of calling them, until the block ends."""
    shadows = counting(wrapper, observer)
    vars(wrapper).update(shadows)
    try:
        yield
    finally:
        for name in shadows:
            vars(wrapper).pop(name, None)


def _why_not_exact(func: Any, *, robust: bool) -> str:
    """Return why what registers a callback is not rehearsed wholly; ``""`` for our own."""
    while isinstance(func, functools.partial):
        func = func.func
    module = getattr(func, "__module__", None) or type(func).__module__
    if module.startswith(_OWN):
        return ""  # notes of ours, and backfills, whose outlook the report gives
    name = getattr(func, "__qualname__", None) or type(func).__qualname__
    return _NOT_CALLED.format(f"{module}.{name}") + ("" if robust else _MAY_FAIL)
