"""``on_commit`` callbacks, which send e-mails and tasks: a dry run counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def uncalled(wrapper: BaseDatabaseWrapper, dropped: Callable[[int], None]) -> Iterator[None]:
    """Count ``on_commit`` callbacks of one of Django's connections instead of calling them."""

    def on_commit(func: Callable[[], object], robust: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's signature
        if wrapper.in_atomic_block or not wrapper.get_autocommit():
            type(wrapper).on_commit(wrapper, func, robust)
        else:
            dropped(1)

    def run_and_clear_commit_hooks() -> None:
        dropped(len(wrapper.run_on_commit))
        wrapper.run_on_commit = []

    shadows: Any = (on_commit, run_and_clear_commit_hooks)
    for shadow in shadows:
        setattr(wrapper, shadow.__name__, shadow)
    try:
        yield
    finally:
        for shadow in shadows:
            vars(wrapper).pop(shadow.__name__, None)
