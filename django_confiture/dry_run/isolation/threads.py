"""Which threads belong to the dry run: its own, and those it starts.

What is patched for a dry run is patched for the process. A web server or a worker that makes one
has other threads, whose transactions must be left alone.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from time import monotonic
from typing import Any

from django_confiture.dry_run.isolation.let_go import (
    barred_afterwards,
    is_let_go,
    let_go,
    take_back,
)
from django_confiture.dry_run.server.driver import START_THREAD, SUBMIT_TO_THREAD
from django_confiture.dry_run.server.patches import patched
from django_confiture.exceptions import DryRunRefused

_ALONE = threading.Lock()
_LONGEST_S = 60.0

STILL_AT_WORK = (
    "A thread that a migration started was still at work when this ended. The dry run waits for "
    "it, a minute at most; a real run goes on meanwhile."
)
LET_GO = (
    "A thread that a migration started was still at work when the dry run ended. What it has "
    "written until then is rolled back, and its SQL is refused from then on."
)


class OwnThreads:
    """Tells the dry run's threads from other threads."""

    def __init__(self) -> None:
        self._others: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._lent = threading.local()
        """Where another thread, of a pool that was there before, does what ours have submitted."""
        self._lent_now: set[threading.Thread] = set()
        self._connecting = threading.local()
        self._started: list[threading.Thread] = []
        self._submitted: list[Future[Any]] = []
        self._patience_s = _LONGEST_S

    @property
    def has_this(self) -> bool:
        """Whether the current thread is one of them, or works for one; one of unknown origin is."""
        return threading.current_thread() not in self._others or getattr(
            self._lent, "is_ours", False
        )

    @property
    def are_at_work(self) -> bool:
        """Whether what ours have started goes on; daemons, which may never end, don't count."""
        self._submitted = [each for each in self._submitted if not each.done()]
        return bool(self._awaited() or self._submitted)

    def _awaited(self) -> list[threading.Thread]:
        me = threading.current_thread()
        self._started = [each for each in self._started if each.is_alive()]
        return [each for each in self._started if not each.daemon and each is not me]

    def wait(self) -> None:
        """Wait for what ours have started: what it did later would not be rolled back.

        All waits together last a minute at most, however many operations end meanwhile.
        """
        if self.are_at_work:
            began = monotonic()
            wait(self._submitted, self._patience_s)
            for each in self._awaited():
                each.join(max(0, began + self._patience_s - monotonic()))
            self._patience_s = max(0, began + self._patience_s - monotonic())

    def let_go(self) -> None:
        """Wait for them, and refuse from then on what those send that go on, daemons included."""
        try:
            self.wait()
        finally:
            for each in self._submitted:
                each.cancel()
            let_go([*self._started, *self._lent_now])

    def warnings(self) -> Iterator[str]:
        """Yield the report's warning about what goes on when the dry run has ended."""
        if self.are_at_work:
            yield LET_GO

    @property
    def django_connects(self) -> bool:
        """Whether Django itself connects in the current thread."""
        return getattr(self._connecting, "is_on", False)

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Let Django connect in the current thread: what is opened and started is not ours."""
        self._connecting.is_on = True
        try:
            yield
        finally:
            self._connecting.is_on = False

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow which thread starts which; a process can have one dry run at a time."""
        if not _ALONE.acquire(blocking=False):
            raise DryRunRefused(
                "Another dry run is running in this process; wait until it ends, or use another "
                "process."
            )
        try:
            current = threading.current_thread()
            self._others.update(each for each in threading.enumerate() if each is not current)
            with (
                barred_afterwards(),
                patched((START_THREAD, self._following), (SUBMIT_TO_THREAD, self._lending)),
            ):
                yield
        finally:
            self._others.clear()
            _ALONE.release()

    def _following(self, original: Callable[[threading.Thread], None]) -> Callable[..., None]:
        @functools.wraps(original)
        def start(child: threading.Thread) -> None:
            if is_let_go():
                let_go([child])
            elif not self.has_this or self.django_connects:
                self._others.add(child)  # of the site, or of its pool of connections
            original(child)
            if child not in self._others and not getattr(self._lent, "submits", False):
                self._started.append(child)  # one of a pool lives on without work

        return start

    def _lending(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap what gives work to a pool, as ``asgiref`` does: it has one for the whole process."""

        @functools.wraps(original)
        def submit(pool: Any, work: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
            if not self.has_this:
                return original(pool, work, *args, **named)
            self._lent.submits = True
            try:
                future = original(pool, self._lent_to, work, *args, **named)
            finally:
                self._lent.submits = False
            if isinstance(future, Future):
                self._submitted.append(future)
            return future

        return submit

    def _lent_to(self, work: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        me = threading.current_thread()
        self._lent.is_ours = True
        self._lent_now.add(me)
        try:
            return work(*args, **named)
        finally:
            self._lent.is_ours = False
            self._lent_now.discard(me)
            take_back(me)
