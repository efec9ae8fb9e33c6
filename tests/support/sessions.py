"""Other sessions of the database that is migrated: those in the way, and those that wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg

from tests.support.dry_run import parameters


def connect(name: str, **more: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(**parameters(), application_name=name, **more)


@contextmanager
def holding(
    statement: str,
    *,
    name: str = "web",
    until: Callable[[], object] = lambda: False,
    waited_for_s: float | None = None,
) -> Iterator[int]:
    """Hold what a statement locks, and give the process.

    It is held as long as the context, or until something is true, or until it has been so long
    since another session began to wait for it. No time of its own ends it: a busy machine may
    have reached nothing by then.
    """
    with connect(name) as session:
        session.execute(statement)
        pid = session.info.backend_pid
        with ExitStack() as stack:
            if waited_for_s is not None:
                until = stack.enter_context(found_for(waited_for_s, _WAITS_FOR, pid))
            stack.enter_context(calling(session.rollback, when=until))
            yield pid


@contextmanager
def calling(function: Callable[[], object], *, when: Callable[[], object]) -> Iterator[None]:
    """Call a function, from another thread, as soon as something is true or the context ends."""
    left = threading.Event()

    def run() -> None:
        try:
            while not when() and not left.wait(0.01):
                pass
        finally:
            function()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()


_WAITS_FOR = "SELECT 1 FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid)) LIMIT 1"


@contextmanager
def found_for(seconds: float, sql: str, *args: Any) -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether it has been so long since a query found a row at first.

    What it found may have gone since.
    """
    since: list[float] = []
    with connect("looks on", autocommit=True, prepare_threshold=None) as session:

        def is_long_ago() -> bool:
            if not since and session.execute(sql, args or None).fetchone():
                since.append(time.monotonic())
            return bool(since) and time.monotonic() - since[0] >= seconds

        yield is_long_ago


class Client:
    """A client that runs one statement again and again, and notes its longest wait."""

    def __init__(self, statement: str, name: str, pause_s: float = 0.005) -> None:
        self.longest_s = 0.0
        self._statement = statement
        self._pause_s = pause_s
        self._session = connect(name, autocommit=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.perf_counter()
            with suppress(psycopg.errors.UndefinedColumn):
                self._session.execute(self._statement)
            self.longest_s = max(self.longest_s, time.perf_counter() - started)
            time.sleep(self._pause_s)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._session.close()


@contextmanager
def client(statement: str, *, name: str = "shop") -> Iterator[Client]:
    found = Client(statement, name)
    try:
        yield found
    finally:
        found.close()
