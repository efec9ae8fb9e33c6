"""Which threads belong to the dry run: its own, and those it starts.

What is patched for a dry run is patched for the process. A web server or a worker that makes one
has other threads, whose transactions must be left alone.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django_confiture.dry_run.server.driver import START_THREAD
from django_confiture.dry_run.server.patches import patched
from django_confiture.exceptions import DryRunRefused

_ALONE = threading.Lock()


class OwnThreads:
    """Tells the dry run's threads from other threads."""

    def __init__(self) -> None:
        self._others: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

    @property
    def has_this(self) -> bool:
        """Whether the current thread is one of them; a thread of unknown origin is."""
        return threading.current_thread() not in self._others

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow which thread starts which; a process can have one dry run at a time."""
        if not _ALONE.acquire(blocking=False):
            raise DryRunRefused(
                "Another dry run is on in this process; wait for its end, or use another process."
            )
        try:
            current = threading.current_thread()
            self._others.update(each for each in threading.enumerate() if each is not current)
            with patched((START_THREAD, self._following)):
                yield
        finally:
            self._others.clear()
            _ALONE.release()

    def _following(self, original: Callable[[threading.Thread], None]) -> Callable[..., None]:
        @functools.wraps(original)
        def start(child: threading.Thread) -> None:
            if not self.has_this:
                self._others.add(child)
            original(child)

        return start
