"""``on_commit`` callbacks, which send e-mails and tasks: a dry run counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def counting(
    wrapper: BaseDatabaseWrapper, dropped: Callable[[int], None]
) -> dict[str, Callable[..., None]]:
    """Return what stands in for two methods of a connection: callbacks are counted, not called."""

    def on_commit(func: Callable[[], object], robust: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's signature
        if wrapper.in_atomic_block or not wrapper.get_autocommit() or not callable(func):
            type(wrapper).on_commit(wrapper, func, robust)  # which remembers it, or refuses
        else:
            dropped(1)  # outside a transaction Django calls it at once

    def run_and_clear_commit_hooks() -> None:
        dropped(len(wrapper.run_on_commit))
        wrapper.run_on_commit = []

    return {each.__name__: each for each in (on_commit, run_and_clear_commit_hooks)}


@contextmanager
def uncalled(wrapper: BaseDatabaseWrapper, dropped: Callable[[int], None]) -> Iterator[None]:
    """Count callbacks instead of calling them, until the block ends."""
    shadows = counting(wrapper, dropped)
    vars(wrapper).update(shadows)
    try:
        yield
    finally:
        for name in shadows:
            vars(wrapper).pop(name, None)
