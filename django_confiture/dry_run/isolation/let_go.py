"""Threads that are still at work when their dry run ends: nothing would roll back what they do.

Their SQL is refused from then on, by the dry run's own patches while it ends, and by bars of their
own after it.
"""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django_confiture.dry_run.server.driver import (
    CONNECT,
    DJANGO_CONNECT,
    PSYCOPG2_CONNECT,
    START_THREAD,
    WAITING,
)
from django_confiture.dry_run.server.patches import patched
from django_confiture.exceptions import DryRunRefused

REFUSED = (
    "The dry run that started this thread has ended: what it wrote now would not be rolled back."
)
_POLL_S = 0.2

_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_bars = ExitStack()
_changing = threading.Lock()


def let_go(threads: Iterable[threading.Thread]) -> None:
    """Refuse what these send from now on, and what threads send that they start."""
    with _changing:
        _threads.update(threads)


def take_back(thread: threading.Thread) -> None:
    """Let one of a pool do other work again."""
    with _changing:
        _threads.discard(thread)


def is_let_go() -> bool:
    """Return whether the current thread is one of them."""
    return bool(_threads) and threading.current_thread() in _threads


def refuse() -> None:
    """Refuse what one of them is about to send."""
    if is_let_go():
        raise DryRunRefused(REFUSED)


@contextmanager
def barred_afterwards() -> Iterator[None]:
    """Bar what is let go inside the block, after it and until the last of them ends.

    Inside the block, the patches of the dry run itself refuse them.
    """
    with _changing:
        _bars.close()
    try:
        yield
    finally:
        with _changing:
            if _are_at_work():
                _put_up()


def _put_up() -> None:
    barred = (DJANGO_CONNECT, CONNECT, *WAITING, *PSYCOPG2_CONNECT)
    _bars.enter_context(patched((START_THREAD, _following), *((e, _refusing) for e in barred)))
    threading.Thread(target=_take_away_in_time, daemon=True).start()


def _take_away_in_time() -> None:
    while True:
        time.sleep(_POLL_S)
        with _changing:
            if not _are_at_work():
                _bars.close()
                return


def _are_at_work() -> bool:
    return any(each.is_alive() for each in _threads)


def _refusing(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def send(*args: Any, **named: Any) -> Any:
        refuse()
        return original(*args, **named)

    return send


def _following(original: Callable[[threading.Thread], None]) -> Callable[..., None]:
    @functools.wraps(original)
    def start(child: threading.Thread) -> None:
        if is_let_go():
            let_go([child])
        original(child)

    return start
